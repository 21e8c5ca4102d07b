# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The HTML viewer in a headless Chromium, for pictures and tests of it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Without a graphics card, so that any machine shows the same, as browsers do without one: the page is put together by
# the processor, which plays the card for WebGL only. Root, as in containers, has no sandbox.
_ARGUMENTS = (
    '--headless=new', '--no-sandbox', '--disable-gpu', '--enable-unsafe-swiftshader', '--hide-scrollbars',
    '--force-color-profile=srgb',
)  # fmt: skip


def find_chromium() -> str | None:
    """An installed Chromium or Chrome: ``$CHROMIUM``, or one on the PATH."""
    names = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
    return os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def open_chromium() -> Iterator[Any]:
    """A headless browser (Playwright's ``Browser``); takes the playwright package.

    Raises:
        ValueError: If no Chromium is installed.
    """
    from playwright.sync_api import sync_playwright

    executable = find_chromium()
    if executable is None:
        raise ValueError('no Chromium or Chrome on the PATH; install one or name it in $CHROMIUM')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Any, path: str | Path, size: tuple[int, int] = (1600, 1000), **options: Any) -> Any:
    """A page that the viewer wrote, from disk, when it has drawn its first frame.

    Args:
        browser: Of :func:`open_chromium`.
        path: The HTML file.
        size: Of the window, in CSS pixels.
        options: Of Playwright's ``new_page``, such as ``reduced_motion='reduce'``.

    Returns:
        Playwright's ``Page``, with lists of what went wrong as ``page.troubles`` and of the addresses that were asked
        for as ``page.requests``.
    """
    page = browser.new_page(viewport={'width': size[0], 'height': size[1]}, **options)
    page.troubles, page.requests = [], []
    page.on('console', lambda message: _note(page, message))
    page.on('pageerror', lambda error: page.troubles.append(f'error: {error}'))
    page.on('request', lambda request: page.requests.append(request.url))
    page.goto(Path(path).resolve().as_uri())
    wait_for_picture(page)
    return page


def _note(page: Any, message: Any) -> None:
    # A browser without a graphics card says so of itself where it takes up WebGL's pixels.
    if not (message.type == 'warning' and 'GL Driver Message (OpenGL, Performance' in message.text):
        page.troubles.append(f'{message.type}: {message.text}')


def wait_until(page: Any, condition: str, seconds: float = 20.0) -> None:
    """Until a JavaScript expression holds; Playwright's own waiting takes an eval that the page forbids.

    Raises:
        TimeoutError: If it does not within these seconds. Says which.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > end:
            raise TimeoutError(f'{page.url}: {condition} does not hold after {seconds:g} s; {page.troubles}')
        page.wait_for_timeout(20)


def wait_for_picture(page: Any) -> None:
    """Until the page shows the frame it stands on, and the viewpoint rests."""
    wait_until(page, 'Boolean(window.stereopose?.pictureReady) && stereopose.viewpoint?.settled !== false')
    # One picture of the screen to take it up, one to draw it.
    page.evaluate(
        'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30))))'
    )


def picture_viewer(
    html: str | Path,
    picture: str | Path,
    frame: int = 0,
    view: str = 'overview',
    size: tuple[int, int] = (1600, 1000),
    keys: str = '',
) -> None:
    """Save what the viewer shows as a PNG.

    Args:
        html: The page.
        picture: The PNG file.
        frame: Row of the frame.
        view: ``'overview'``, ``'front'``, ``'side'``, ``'top'`` or ``'camera'``.
        size: Of the window, in pixels.
        keys: Keys pressed before, such as ``'tu'`` for no trails and depth's uncertainty.
    """
    with open_chromium() as browser:
        page = open_page(browser, html, size, reduced_motion='reduce')
        page.evaluate('([frame, view]) => { stereopose.seek(frame); stereopose.view(view); }', [frame, view])
        for key in keys:
            page.keyboard.press(key)
        wait_for_picture(page)
        wait_until(page, 'stereopose.viewpoint?.refined !== false')
        page.screenshot(path=str(picture))
