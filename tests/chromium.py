"""What the browser tests ask of a page; `tests/browser/conftest.py` starts the browser."""

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import axe_core_python
from selenium.webdriver import Chrome

OWN = ("file:", "data:", "blob:", "about:")  # what a page may load without asking anybody


@dataclass(frozen=True)
class Browser:
    """A Selenium driver, and what a test asks of it beyond."""

    driver: Chrome

    def open(
        self, page: Path, width: int = 1280, height: int = 900, is_dark: bool = False
    ) -> "Browser":
        """Load a file by its `file://` address at a width in CSS pixels, light or dark."""
        self._forget()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(page.resolve().as_uri())
        return self

    def js(self, script: str, *arguments: Any) -> Any:
        """What a piece of JavaScript returns (`arguments[0]` … are the arguments)."""
        return self.driver.execute_script(script, *arguments)

    def assert_calm(self, width: int) -> None:
        """With every detail open: no sideways scrolling, no error, nothing asked for."""
        self.js("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert self.js("return document.documentElement.scrollWidth") <= width
        assert self.console_errors() == []
        assert self.requests() == []

    def violations(self) -> list[str]:
        """What axe-core finds wrong for those who do not see the page, or not well."""
        self.driver.set_script_timeout(300)  # of a page of many figures, on a busy machine
        axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
        self.driver.execute_script(axe)
        run = "axe.run({resultTypes: ['violations']}).then(found => arguments[0](found.violations))"
        found = self.driver.execute_async_script(run)
        return [f"{v['id']}: {node['html'][:120]}" for v in found for node in v["nodes"]]

    def pages_on_paper(self) -> int:
        """How many A4 pages the page is printed on, once it is drawn: a busy machine is slow to."""
        drawn = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))"
        self.driver.execute_async_script(drawn)
        paper = {"paperWidth": 8.27, "paperHeight": 11.7}
        printed = self.driver.execute_cdp_cmd("Page.printToPDF", paper)
        return len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(printed["data"])))

    def console_errors(self) -> list[str]:
        """Errors and warnings in the console since the page was opened; asking empties it."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened, but files beside it and inline data."""
        sent = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        asked = [e["params"] for e in sent if e["method"] == "Network.requestWillBeSent"]
        return [a["request"]["url"] for a in asked if not a["request"]["url"].startswith(OWN)]

    def _forget(self) -> None:
        self.driver.get("about:blank")
        for log in ("browser", "performance"):
            self.driver.get_log(log)
