"""What only a browser shows: drawing, turning, the keyboard, small screens, no script, no WebGL."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stores.connections import open_store
from tests.web.conftest import watched_page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def slab(records):
    return f"/facets/{records.quickstart_surfaces()[0].id}"


def colours(image):
    """Return how many pixels of a screenshot are neither grey nor nearly so."""
    import matplotlib.image
    import numpy as np

    pixels = matplotlib.image.imread(io.BytesIO(image))[:, :, :3]
    return int((np.ptp(pixels, axis=2) > 0.15).sum())


def test_the_slab_is_drawn_with_webgl_and_turns(browser, url, slab):
    # small, for drawing in software is slow
    for page in watched_page(browser, url, viewport={"width": 360, "height": 500}):
        page.goto(slab)
        page.wait_for_selector(".viewer[data-drawn='1'] canvas")
        assert page.is_hidden(".drawings")
        stage = page.locator(".stage")
        first = stage.screenshot()
        assert colours(first) > 3000
        stage.focus()
        page.keyboard.press("ArrowRight")
        turned = stage.screenshot()
        assert turned != first
        assert colours(turned) > 3000
        page.check("input[value='as cut']")
        page.wait_for_selector(".viewer[data-drawn='2']")


def test_without_webgl_the_drawings_stay(browser_without_webgl, url, slab):
    for page in watched_page(browser_without_webgl, url):
        page.goto(slab)
        page.wait_for_load_state("networkidle")
        assert page.locator("canvas").count() == 0
        assert page.is_hidden(".stage")
        for drawing in page.locator("svg.atoms").all():
            assert colours(drawing.screenshot()) > 3000


def test_the_wulff_shape_turns_and_follows_the_slider(page):
    page.goto("/compounds/MgAg")
    stage = page.locator(".stage")
    first = stage.inner_html()
    stage.focus()
    page.keyboard.press("ArrowLeft")
    turned = stage.inner_html()
    assert turned != first
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 140, steps=4)
    page.mouse.up()
    assert stage.inner_html() != turned
    before = page.inner_text("#at-potential dl")
    page.focus("#dmu")
    with page.expect_response(lambda answer: "dmu=-0.6" in answer.url):
        page.keyboard.press("Home")
    page.wait_for_function(
        "before => document.querySelector('#at-potential dl').innerText !== before", arg=before
    )
    assert "dmu=-0.6" in page.url
    assert page.inner_text("output") == "\N{MINUS SIGN}0.600"
    # the linked page is the same
    values = page.inner_text("#at-potential dl")
    page.reload()
    assert page.inner_text("#at-potential dl") == values


def test_without_script_tables_filters_and_the_chemical_potential_work(browser, url):
    for page in watched_page(browser, url, java_script_enabled=False):
        page.goto("/facets")
        page.fill("input[name=formula]", "MgAg")
        page.click("button:has-text('Filter')")
        assert page.locator("table.facets tbody tr").count() == 5
        page.click("th >> text=Φ")
        assert "3.378" in page.inner_text("table.facets tbody tr >> nth=0")
        page.click("tbody tr >> nth=0 >> a >> nth=1")
        assert page.locator("svg.atoms").count() == 2
        page.goto("/compounds/MgAg?dmu=-0.3")
        assert page.is_visible("svg.shape")
        page.click("text=Show")
        assert "dmu=-0.3" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_telephone(browser, url, slab, scheme):
    small = {"viewport": {"width": 390, "height": 800}, "color_scheme": scheme}
    for page in watched_page(browser, url, **small):
        # drawing slabs in software is slow: once
        for path in ("/facets", "/compounds/MgAg", *([slab] if scheme == "light" else [])):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_keyboard_reaches_everything(page):
    page.goto("/facets")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('href') || document.activeElement.name")
        )
    assert {"/facets", "/compounds/MgAg", "formula", "/facets?sort=work_function"} <= reached


def test_names_with_markup_run_nothing(browser_without_webgl, serving, records, tmp_path):
    hostile = "<img src=x onerror=document.title='run'><script>document.title='run'</script>"
    path = tmp_path / "store.sqlite"
    with open_store(str(path)) as store:
        store.add(records.surface(formula=hostile, label=hostile, campaign=hostile, id="one"))
    with serving(path) as address:
        for page in watched_page(browser_without_webgl, address):
            for shown in ("/facets", "/facets/one"):
                page.goto(shown)
                page.wait_for_load_state("networkidle")
                assert page.title() != "run"
                assert hostile in page.inner_text("main")


WRITER = """
import importlib.util, sys
from stores.connections import open_store
spec = importlib.util.spec_from_file_location("cli_records", sys.argv[2])
records = importlib.util.module_from_spec(spec)
spec.loader.exec_module(records)
one = records.surface()
with open_store(sys.argv[1]) as store:
    for number in range(10**6):
        store.add([one.model_copy(update={"id": f"{number}-{n}"}) for n in range(10)])
        print(number, flush=True)
"""


def test_a_writer_killed_while_the_page_is_read_again_and_again(browser, serving, records, tmp_path):
    path = tmp_path / "store.sqlite"
    with open_store(str(path)) as store:
        store.add(records.surface(id="first"))
    with serving(path) as address:
        command = [sys.executable, "-c", WRITER, str(path), records.__file__]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
            for page in watched_page(browser, address):
                counts = []
                deadline = time.monotonic() + 60
                killed = False
                while time.monotonic() < deadline and (not killed or len(counts) < 8):
                    assert page.goto("/facets").status == 200
                    counts.append(int(page.inner_text(".count strong").replace(",", "")))
                    if not killed and counts[-1] > 30:
                        writer.send_signal(signal.SIGKILL)
                        killed = True
                assert killed
                # each transaction of ten as a whole
                assert all(count % 10 == 1 for count in counts)
                assert counts == sorted(counts)
