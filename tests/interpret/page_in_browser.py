"""The page of attention in a real browser: used by mouse and keyboard, at two widths, in light and dark.

    apt-get install chromium chromium-driver
    python tests/interpret/page_in_browser.py [--output out/attention-page]

A script and not a test of the suite, which does not need a browser. It takes the GPT of `examples/checkpoints` and a
tiny T5, compares what is shown with the traces, and saves screenshots. About half a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))
from in_browser import TAB, Browser, chromedriver

from minitransformers import AutoModelForCausalLM, AutoTokenizer
from minitransformers.interpret import attention_page, trace
from minitransformers.models.t5 import T5ForConditionalGeneration
from minitransformers.testing.examples import example_batch, tiny_model

DOWN, END = "\ue015", "\ue010"
GPT = Path(__file__).parents[2] / "examples" / "checkpoints" / "gpt"
TEXT = "LEONTES.\nToo hot, too hot! To mingle friendship far, is mingling bloods. I have tremor cordis on me."
SHOWN = "[...document.querySelectorAll('#keys [role=option]')].map((each) => Number(each.dataset.weight))"
CHOSEN = "[...document.querySelectorAll('#queries [role=option]')].findIndex((each) => each.ariaSelected === 'true')"


def check(browser: Browser, weights: torch.Tensor) -> None:
    """The numbers beside the keys are the chosen query's weights, (query, key)."""
    assert torch.equal(torch.tensor(browser.run(SHOWN)), weights[browser.run(CHOSEN)]), browser.run(CHOSEN)


def choose(browser: Browser, select: str, index: int) -> None:
    browser.run(
        f"(document.querySelector('#{select}').selectedIndex = {index}, "
        f"document.querySelector('#{select}').dispatchEvent(new Event('change')))"
    )


def try_gpt(browser: Browser, output: Path, folder: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(GPT), AutoTokenizer.from_pretrained(GPT)
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    with trace(model) as activations, torch.no_grad():
        model(ids)
    page = attention_page(activations, tokenizer.convert_ids_to_tokens(ids[0]), title="Attention of a small GPT")
    browser.ask("POST", "/url", {"url": page.save(folder / "gpt.html").resolve().as_uri()})
    check(browser, activations.attentions[0].weights[0, 0])

    choose(browser, "layer", 2)
    choose(browser, "head", 3)
    check(browser, activations.attentions[2].weights[0, 3])
    choose(browser, "head", 0)
    weights = activations.attentions[2].weights[0, 0]

    # The keyboard alone: the fourth stop after the body is the list of queries.
    browser.run("document.activeElement.blur()")
    for _ in range(4):
        browser.press(TAB)
    assert browser.run("document.activeElement.parentElement.id") == "queries"
    browser.press(DOWN)
    browser.press(DOWN)
    assert browser.run(CHOSEN) == 2
    check(browser, weights)
    browser.press(END)
    assert browser.run(CHOSEN) == len(weights) - 1
    check(browser, weights)
    assert "attends most to" in browser.run("document.querySelector('#summary').textContent")

    browser.click("#queries li:nth-child(5)")
    assert browser.run(CHOSEN) == 4
    check(browser, weights)
    browser.click("#keys li:nth-child(4)")
    browser.click("#neurons summary")
    call = activations.attentions[2]
    expected = (call.query[0, 0, 4] * call.key[0, 0, 3]).tolist()
    products = browser.run(
        "[...document.querySelectorAll('#products tr')].map((row) => Number(row.cells[3].textContent))"
    )
    assert all(abs(one - other) < 6e-4 for one, other in zip(expected, products, strict=True))

    for width in (1280, 380):
        for scheme in ("light", "dark"):
            browser.cdp(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
            )
            browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            time.sleep(0.2)
            assert browser.run("innerWidth") == width
            assert browser.run("document.documentElement.scrollWidth") <= width
            boxes = "[...document.querySelectorAll('body *')]"
            wide = f"{boxes}.filter((each) => each.getBoundingClientRect().right > innerWidth)"
            assert browser.run(f"{wide}.length") == 0, browser.run(f"{wide}.map((each) => each.outerHTML)")
            browser.picture(output / f"gpt_{width}_{scheme}.png")


def try_t5(browser: Browser, output: Path, folder: Path) -> None:
    model = tiny_model(T5ForConditionalGeneration, dtype=torch.float32)
    with trace(model) as activations, torch.no_grad():
        model(**example_batch(model, labels=False))
    page = attention_page(activations, list("abcde"), list("uvwxyz"))
    browser.ask("POST", "/url", {"url": page.save(folder / "t5.html").resolve().as_uri()})
    for index, kind in enumerate(("encoder", "decoder", "cross")):
        choose(browser, "group", index)
        choose(browser, "layer", 1)
        check(browser, [each for each in activations.attentions if each.kind == kind][1].weights[0, 0])
    browser.picture(output / "t5_cross.png")

    # As in a notebook: in a frame.
    frame = folder / "frame.html"
    frame.write_text(f"<!doctype html><meta charset=utf-8>{page._repr_html_()}", "utf-8")
    browser.ask("POST", "/url", {"url": frame.resolve().as_uri()})
    browser.ask("POST", "/frame", {"id": browser.ask("POST", "/element", {"using": "css selector", "value": "iframe"})})
    check(browser, activations.attentions[0].weights[0, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/attention-page"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with chromedriver() as port, tempfile.TemporaryDirectory() as profile, tempfile.TemporaryDirectory() as folder:
        browser = Browser(port, profile)
        try:
            for attempt in (try_gpt, try_t5):
                attempt(browser, output, Path(folder))
                log = browser.ask("POST", "/se/log", {"type": "browser"})
                assert not log, log
                addresses = browser.run("performance.getEntriesByType('resource').map((each) => each.name)")
                assert not addresses, addresses
        finally:
            browser.ask("DELETE", "")
    print("all well")


if __name__ == "__main__":
    main()
