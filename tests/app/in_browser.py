"""The page in a real browser: uses it as people do, checks what it shows, and saves screenshots.

    apt-get install chromium chromium-driver
    python tests/app/in_browser.py [--model DIRECTORY] [--output out/screenshots]

A script and not a test of the suite, which does not need a browser. It drives headless Chromium through chromedriver by
the WebDriver protocol, which is JSON over HTTP. Without --model it takes a tiny random model of bytes. About a minute.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tiny_session import byte_tokenizer, tiny_model

from minitransformers.app.server import AppServer
from minitransformers.app.session import Session, load

ENTER, RIGHT, ESCAPE, TAB, CONTROL = "\ue007", "\ue014", "\ue00c", "\ue004", "\ue009"
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-background-networking --disable-component-update
    --disable-sync --no-first-run --hide-scrollbars --window-size=1280,900"""


class Browser:
    """A session of chromedriver."""

    def __init__(self, port: int, profile: str, **options: Any) -> None:
        self.address = f"http://127.0.0.1:{port}/session"
        chrome = {"args": [*FLAGS.split(), f"--user-data-dir={profile}"], **options}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}}
        self.address += "/" + self.ask("POST", "", {"capabilities": capabilities})["sessionId"]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, content, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)["value"]

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a piece of JavaScript."""
        return self.ask("POST", "/execute/sync", {"script": f"return {script}", "args": list(arguments)})

    def find(self, selector: str) -> str:
        (element,) = self.ask("POST", "/element", {"using": "css selector", "value": selector}).values()
        return f"/element/{element}"

    def click(self, selector: str) -> None:
        self.ask("POST", self.find(selector) + "/click", {})

    def type(self, selector: str, text: str) -> None:
        element = self.find(selector)
        self.ask("POST", element + "/clear", {})
        self.ask("POST", element + "/value", {"text": text})

    def press(self, *keys: str) -> None:
        """Keys to whatever has the focus, the later ones while the earlier are held."""
        actions = [{"type": "keyDown", "value": key} for key in keys] + [
            {"type": "keyUp", "value": key} for key in keys
        ]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def tap(self, selector: str, index: int) -> None:
        """A finger on the first line of an element, where it is on the screen now."""
        place = "(({left, top, width, height}) => [left + width / 2, top + height / 2])"
        x, y = self.run(f"{place}(document.querySelectorAll('{selector}')[{index}].getClientRects()[0])")
        down_and_up = [{"type": "pointerDown", "button": 0}, {"type": "pause", "duration": 50}]
        down_and_up += [{"type": "pointerUp", "button": 0}]
        actions = [{"type": "pointerMove", "x": int(x), "y": int(y)}, *down_and_up]
        finger = {"type": "pointer", "id": "finger", "parameters": {"pointerType": "touch"}, "actions": actions}
        self.ask("POST", "/actions", {"actions": [finger]})

    def wait(self, script: str, seconds: float = 120) -> None:
        """Until a condition holds."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"waited in vain for {script}"
            time.sleep(0.02)

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path: Path, whole: bool = True) -> None:
        """Of the whole page, or of what is in the window."""
        data = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
        print(f"  {path}")


@contextlib.contextmanager
def chromedriver() -> Iterator[int]:
    """A running chromedriver's port."""
    program = shutil.which("chromedriver")
    assert program, "chromedriver is missing: apt-get install chromium chromium-driver"
    process = subprocess.Popen([program, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                yield int(found[1])
                break
        else:
            raise AssertionError("chromedriver did not start")
    finally:
        process.terminate()
        process.wait()


# ---- what is tried ---------------------------------------------------------------------------------------------------

DONE = "!running && document.querySelector('#status').textContent.includes(' ms each')"
OBSERVE = """(() => {
  window.lengths = [];
  const observer = new MutationObserver(() => lengths.push(document.querySelectorAll(".token").length));
  observer.observe(document.querySelector("#log"), {childList: true, subtree: true});
})()"""
TOKENS = "[...document.querySelectorAll('.token')].map((span) => span.token)"


def try_text(browser: Browser, session: Session) -> None:
    print("A text: tokens arrive, and their numbers are the model's")
    choose(browser, "greedy", max_new_tokens=40)
    browser.type("#prompt", "ROSALIND.\nMy lord,")
    browser.run(OBSERVE)
    browser.click("#go")
    browser.wait(DONE)
    lengths = browser.run("window.lengths")
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 10, lengths  # it grew in many steps
    shown = browser.run(TOKENS)
    prompt = session.encode("ROSALIND.\nMy lord,")
    (ids,) = session.model.generate(torch.tensor([prompt]), max_new_tokens=40).tolist()
    assert [token["id"] for token in shown] == ids[len(prompt) :]
    with torch.no_grad():
        rows = session.model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1].softmax(-1)
    for token, row in zip(shown, rows, strict=True):
        assert abs(token["probability"] - row[token["id"]].item()) < 1e-4
        for other in token["alternatives"]:
            assert abs(other["probability"] - row[other["id"]].item()) < 1e-4


def try_details(browser: Browser, folder: Path, name: str) -> None:
    print("Details by keyboard, and another token instead")
    browser.run("document.querySelector('.token').focus()")
    browser.press(RIGHT)
    browser.press(RIGHT)
    browser.press(RIGHT)
    assert browser.run("document.activeElement.place") == 3
    assert browser.run("document.querySelectorAll('#alternatives button:not(:disabled)').length") > 1
    browser.press(ENTER)
    assert browser.run("document.activeElement.closest('#alternatives') !== null")
    browser.picture(folder / f"{name}-details.png", whole=False)
    before = browser.run(TOKENS)
    wanted = browser.run("document.querySelector('.token.chosen').token.alternatives[2].id")
    browser.click("#alternatives tr:nth-child(3) button")
    browser.wait(DONE)
    after = browser.run(TOKENS)
    assert [token["id"] for token in after[:3]] == [token["id"] for token in before[:3]]
    assert after[3]["id"] == wanted
    assert len(after) > 30


def try_taps(browser: Browser, folder: Path) -> None:
    print("A tap shows a token's details, wherever on the screen it is")
    places = []
    for index in range(browser.run("document.querySelectorAll('.token').length")):
        browser.run("(pin(null), document.activeElement.blur())")
        browser.run("document.querySelector('#log').scrollIntoView({block: 'start'})")
        browser.run("window.scrollBy(0, -innerHeight / 3)")
        top = browser.run(f"document.querySelectorAll('.token')[{index}].getClientRects()[0].top / innerHeight")
        if not 0 < top < 0.95:
            continue
        places.append(top)
        browser.tap(".token", index)
        browser.wait(f"pinned?.place === {index} && !document.querySelector('#something').hidden", seconds=5)
        # Neither the details nor anything else covers the token.
        seen = (
            "(({left, top, width, height}) => document.elementFromPoint(left + width / 2, top + height / 2) === pinned)"
        )
        assert browser.run(f"{seen}(pinned.getClientRects()[0])"), index
    assert max(places) > 0.6, places
    browser.run(f"pin(document.querySelectorAll('.token')[{len(places) - 1}])")
    browser.picture(folder / "phone-tapped.png", whole=False)
    browser.run("pin(null)")


def try_beams(browser: Browser, session: Session) -> None:
    print("Beam search ends with the best text")
    choose(browser, "beam", max_new_tokens=20, num_beams=4)
    browser.click("#go")
    browser.wait(DONE)
    prompt = session.encode("ROSALIND.\nMy lord,")
    (ids,) = session.model.generate(torch.tensor([prompt]), max_new_tokens=20, num_beams=4).tolist()
    assert [token["id"] for token in browser.run(TOKENS)] == ids[len(prompt) :]


def try_stop_and_more(browser: Browser) -> None:
    print("Stop, and go on")
    choose(browser, "sample", max_new_tokens=200, seed=1)
    browser.click("#go")
    browser.wait("document.querySelectorAll('.token').length > 2")
    browser.click("#stop")
    browser.wait("!running")
    count = browser.run("document.querySelectorAll('.token').length")
    assert count < 200, count
    assert browser.run("document.querySelector('#status').textContent").startswith("Stopped after")
    choose(browser, "sample", max_new_tokens=10, seed=1)
    browser.click("#more")
    browser.wait(DONE)
    assert browser.run("document.querySelectorAll('.token').length") == count + 10


def try_errors(browser: Browser, folder: Path) -> None:
    print("Errors in words")
    choose(browser, "sample", temperature=0)
    browser.click("#go")
    browser.wait("!document.querySelector('#error').hidden")
    assert "temperature must be a number from 0.01" in browser.run("document.querySelector('[role=alert]').textContent")
    browser.picture(folder / "error.png")
    choose(browser, "sample", temperature=0.8)


def try_chat(browser: Browser, folder: Path, name: str) -> None:
    print("A chat")
    browser.run("document.querySelector('[value=chat]').click()")
    choose(browser, "sample", max_new_tokens=30, temperature=0.8, seed=2)
    browser.type("#system", "A play by Shakespeare.")
    for number, message in enumerate(("What news, my lord?", "And the lady?")):
        browser.type("#prompt", message)
        browser.press(CONTROL, ENTER)
        browser.wait(f"{DONE} && document.querySelectorAll('.text').length === {number + 1}")
    assert browser.run("chat.map((message) => message.role)") == ["user", "assistant", "user", "assistant"]
    assert browser.run("document.querySelectorAll('.you').length") == 2
    browser.picture(folder / f"{name}-chat.png")
    choose(browser, "sample", max_new_tokens=100)
    browser.type("#prompt", "Speak.")
    browser.click("#go")
    browser.wait("document.querySelectorAll('.text').length === 3 && block.tokens.length > 2")
    browser.click("#reset")  # in the middle of an answer
    browser.wait("!running && !document.querySelector('#go').disabled")
    assert browser.run("[chat.length, document.querySelectorAll('#log *').length]") == [0, 0]
    browser.run("document.querySelector('[value=text]').click()")


def try_looks(browser: Browser) -> None:
    """Nothing is wider than the window, text is readable everywhere, and whatever can be used has a name."""
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.run(
        "[...document.querySelectorAll('input, textarea, select')].every((field) => field.labels.length)"
    )
    worst = browser.run(CONTRAST)
    print(f"  the least contrast of text is {worst:.1f} : 1")
    assert worst >= 4.5


# The least contrast (WCAG 2, 1.4.3) of any text on the page; backgrounds are blended as the browser does.
CONTRAST = """(() => {
  const parse = (color) => (color.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = ([r, g, b, a = 1], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const behind = (element) => element === null ? [255, 255, 255] :
    over(parse(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  const luminance = (rgb) => rgb.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let worst = 21;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.disabled || element.matches("script, style, option")) continue;
    const back = behind(element), text = over(parse(getComputedStyle(element).color), back);
    const [a, b] = [luminance(back), luminance(text)].sort((x, y) => y - x);
    worst = Math.min(worst, (a + 0.05) / (b + 0.05));
  }
  return worst;
})()"""


def choose(browser: Browser, strategy: str, **values: Any) -> None:
    set_value = "((name, value) => { const e = document.querySelector(`#fields [name=${name}]`); e.value = value;"
    set_value += " e.dispatchEvent(new Event('change')); })(...arguments)"
    for name, value in {"strategy": strategy, **values}.items():
        browser.run(set_value, name, str(value))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a directory or a name on a hub")
    parser.add_argument("--output", type=Path, default=Path("out/screenshots"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    session = (
        load(options.model) if options.model else Session(tiny_model(), byte_tokenizer(), "a random model of bytes")
    )
    phone = {"deviceMetrics": {"width": 380, "height": 740, "pixelRatio": 2, "touch": True, "mobile": True}}
    with AppServer(session) as server, chromedriver() as port, tempfile.TemporaryDirectory() as profiles:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, emulation in {"desktop": {}, "phone": {"mobileEmulation": phone}}.items():
            print(f"\n{name}")
            browser = Browser(port, f"{profiles}/{name}", **emulation)
            try:
                browser.ask("POST", "/url", {"url": server.url})
                browser.wait("document.querySelectorAll('#fields input').length > 5")
                browser.picture(options.output / f"{name}-start.png")
                try_looks(browser)
                try_text(browser, session)
                try_looks(browser)
                try_details(browser, options.output, name)
                try_beams(browser, session)
                try_stop_and_more(browser)
                choose(browser, "sample", max_new_tokens=80, seed=3)
                browser.click("#go")
                browser.wait(DONE)
                browser.run("document.querySelectorAll('.token')[12].click()")
                browser.picture(options.output / f"{name}-pinned.png", whole=False)
                if name == "phone":
                    try_taps(browser, options.output)
                browser.picture(options.output / f"{name}.png")
                try_looks(browser)
                browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
                browser.picture(options.output / f"{name}-dark.png")
                try_looks(browser)
                browser.cdp("Emulation.setEmulatedMedia", features=[])
                try_errors(browser, options.output)
                try_looks(browser)
                try_chat(browser, options.output, name)
                problems = [entry["message"] for entry in browser.ask("POST", "/se/log", {"type": "browser"})]
                # The refused request of try_errors is logged by the browser itself.
                assert all("400 (Bad Request)" in problem for problem in problems), problems
            finally:
                browser.ask("DELETE", "")
        server.shutdown()
    print("\nAll is well.")


if __name__ == "__main__":
    main()
