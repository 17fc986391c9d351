"""Headless Chromium, where it is installed."""

import shutil
import tempfile

import pytest
from selenium import webdriver

from streams import DEADLINE_S

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromium-driver are not installed")


@pytest.fixture(scope="module")
def chromium():
    """One browser for the tests of a module."""
    with tempfile.TemporaryDirectory(prefix="fanout-chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        switches = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server"]
        # The sandbox refuses to run as root, which is what continuous integration often is.
        for switch in [*switches, "--no-sandbox", f"--user-data-dir={profile}"]:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        driver.set_script_timeout(DEADLINE_S)
        yield driver
        driver.quit()


def faults(driver):
    """What the browser complained about, failed requests aside: they are part of some tests."""
    entries = driver.get_log("browser")
    return [entry for entry in entries if entry["level"] == "SEVERE" and entry["source"] != "network"]
