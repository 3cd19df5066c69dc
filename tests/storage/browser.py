"""Chromium without a window: what a page looks like, what its console says, and what a script in a copy of it finds."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = [
    pytest.mark.once,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]

X = np.random.default_rng(0).random((60, 12)).astype(np.float32)
Y = np.arange(60) % 3
QUICK = {"hidden": (9,), "latent_dim": 2, "epochs": 2, "random_state": 0}
IMAGE = {"image_shape": (3, 4), "labels": Y}

TOOLS = """
const $ = (id) => document.getElementById(id), found = {};
const press = (id, type, place = [0, 0], more = {}) => {
  const box = $(id).getBoundingClientRect();
  const at = { clientX: box.left + place[0] * box.width, clientY: box.top + place[1] * box.height };
  $(id).dispatchEvent(new PointerEvent(type, { ...at, ...more, bubbles: true }));
};
const key = (id, key) => $(id).dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
const slide = (input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); };
const sliders = () => [...document.querySelectorAll('#code input')].map((input) => Number(input.value));
const texts = (selector) => [...document.querySelectorAll(selector)].map((one) => one.textContent);
const red = (canvas) => {
  const { width, height } = canvas, copy = Object.assign(document.createElement('canvas'), { width, height });
  copy.getContext('2d').drawImage(canvas, 0, 0);
  return Array.from(copy.getContext('2d').getImageData(0, 0, width, height).data).filter((_, i) => i % 4 === 0);
};
"""


def browse(path, *options):
    """What Chromium writes about the page, and its log."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--enable-logging=stderr", f"--user-data-dir={path.parent / 'profile'}",
        "--blink-settings=preferredColorScheme=1", *options, path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")


def opened(path, *options):
    """The attributes of the page's <html>; fails if the console has a message."""
    dom, log = browse(path, "--dump-dom", *options)
    assert "CONSOLE" not in log, [line for line in log.splitlines() if "CONSOLE" in line]
    tag = re.search(r"<html[^>]*>", dom)[0]
    return {name: html.unescape(value) for name, value in re.findall(r'data-([\w-]+)="([^"]*)"', tag)}


def with_script(path, script, copy=None):
    """A copy of the page that runs the script after its own."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"'sha256-[^']*'", "'unsafe-inline'", text, count=1)
    copy = copy or path.with_name("copy.html")
    script = f'<script type="module">{TOOLS}{script}\ndocument.documentElement.dataset.found = JSON.stringify(found);'
    copy.write_text(text.replace("</body>", f"{script}</script></body>"), encoding="utf-8")
    return copy


def play(path, script, *options):
    """What the script has put into `found`."""
    return json.loads(opened(with_script(path, script), *options)["found"])


def together(folder, frames):
    """{name: value} from pages in frames of one window, each of which posts its name and a value."""
    listen = "const found = {}; onmessage = (e) => { found[e.data[0].slice(1)] = e.data[1]; "
    listen += "document.documentElement.dataset.found = JSON.stringify(found); };"
    (folder / "frames.html").write_text(f"<html><body><script>{listen}</script>{frames}</body></html>")
    return json.loads(opened(folder / "frames.html", "--virtual-time-budget=9000", "--window-size=1400,1000")["found"])
