"""Takes the pictures of docs/serve.md from the pages themselves, in a browser.

    python docs/make_pictures.py --store FILE      # such as that of make quickstart

Needs chromium. Each picture is a WebP file in ``docs/pictures`` of some 40 kB.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

PICTURES = Path(__file__).with_name("pictures")
PAGES = {
    "facets": ("/facets?formula=MgAg", 1180, 520, "light"),
    "facet": ("/facets/{facet}", 1180, 880, "light"),
    "compound": ("/compounds/MgAg?dmu=-0.2", 1180, 960, "light"),
    "telephone": ("/compounds/MgAg", 390, 760, "dark"),
}
"""By name: path, width and height of the window (px), colour scheme."""


def main() -> None:
    """Serve a store and take all pictures."""
    import uvicorn
    from PIL import Image
    from playwright.sync_api import sync_playwright

    from stores.connections import open_store
    from workflows.web.app import create_app

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("names", nargs="*", default=list(PAGES), help="only these pictures")
    given = parser.parse_args()
    with open_store(given.store, must_exist=True) as store:
        facet = next(store.query({"formula": "MgAg", "miller_index": [1, 0, 0]}, ["id"], limit=1))["id"]
    app = create_app(given.store)
    app.state.shown_uri = Path(given.store).name  # no folder of this machine in a picture
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        PICTURES.mkdir(exist_ok=True)
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
            for name in given.names:
                path, width, height, scheme = PAGES[name]
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.goto(address + path.format(facet=facet))
                page.wait_for_load_state("networkidle")
                page.wait_for_timeout(500)
                image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                image.save(PICTURES / f"serve_{name}.webp", quality=80, method=6)
                page.close()
            browser.close()
        server.should_exit = True
        thread.join(10)


if __name__ == "__main__":
    main()
