"""The built site in headless Chromium: wide and narrow, light and dark; no error, no request that leaves, no overflow.

    apt-get install chromium chromium-driver
    python docs/tools/in_browser.py out/site [--only tour/bert.html …] [--output out/site-screenshots]

The driver of tests/app/in_browser.py speaks to the browser. The site is served on this machine. A screenshot is
saved of every page of `SHOWN`, in each of the four looks.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pages import ROOT

sys.path.insert(0, str(ROOT / "tests" / "app"))
from in_browser import Browser, chromedriver

SHOWN = ["index.html", "tour/bert.html", "concepts/attention.html", "guides/looking_inside.html", "api/nn.html"]
PHONE = {"deviceMetrics": {"width": 380, "height": 740, "pixelRatio": 2, "touch": True, "mobile": True}}
SCHEMES = {"light": "default", "dark": "slate"}  # as mkdocs.yml names them
WIDEST = """[...document.querySelectorAll("article *")].filter((e) => {
  const clips = (p) => ["auto", "scroll", "hidden"].includes(getComputedStyle(p).overflowX);
  const scrolls = (p) => p && (clips(p) || scrolls(p.parentElement));
  return e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement) && e.checkVisibility();
}).slice(0, 3).map((e) => e.outerHTML.slice(0, 120))"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def main() -> int:
    """Open every page in all looks, and print what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("--only", nargs="+", help="these pages; default: all")
    parser.add_argument(
        "--whole", action="store_true", help="pictures of whole pages, and not of what is in the window"
    )
    parser.add_argument("--output", type=Path, default=Path("out/site-screenshots"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    names = options.only or sorted(
        str(path.relative_to(options.site)) for path in options.site.rglob("*.html") if path.name != "404.html"
    )
    found, visits = [], 0
    handler = functools.partial(Quiet, directory=str(options.site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, chromedriver() as port:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        for look, emulation in {"wide": {}, "narrow": {"mobileEmulation": PHONE}}.items():
            with tempfile.TemporaryDirectory() as profile:
                browser = Browser(port, profile, **emulation)
                try:
                    for scheme in ("light", "dark"):
                        features = [{"name": "prefers-color-scheme", "value": scheme}]
                        browser.cdp("Emulation.setEmulatedMedia", features=features)
                        browser.ask("POST", "/url", {"url": address + names[0]})
                        browser.run("localStorage.clear()")  # the site remembers the look of the first visit
                        for name in names:
                            browser.ask("POST", "/url", {"url": address + name})
                            browser.wait("document.readyState === 'complete'")
                            visits += 1
                            place = f"{name} ({look}, {scheme})"
                            if browser.run("document.body.dataset.mdColorScheme") not in (None, SCHEMES[scheme]):
                                found.append(f"{place}: has another look")
                            if browser.run("document.documentElement.scrollWidth > innerWidth + 1"):
                                found.append(f"{place}: wider than the window: {browser.run(WIDEST)}")
                            urls = browser.run("performance.getEntriesByType('resource').map((entry) => entry.name)")
                            found += [
                                f"{place}: asks for {url}" for url in urls if not url.startswith((address, "data:"))
                            ]
                            logs = browser.ask("POST", "/se/log", {"type": "browser"})
                            found += [f"{place}: {entry['message']}" for entry in logs]
                            if name in SHOWN or options.only:
                                stem = name.removesuffix(".html").replace("/", "-")
                                browser.picture(options.output / f"{stem}-{look}-{scheme}.png", whole=options.whole)
                finally:
                    browser.ask("DELETE", "")
        server.shutdown()
    print("\n".join(found))
    print(f"{visits} visits to {len(names)} pages: {len(found)} problems.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
