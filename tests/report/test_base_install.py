"""Without the extra: everything starts, and a report says what to install."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
for name in ("jinja2", "matplotlib", "markupsafe", "sklearn"):
    sys.modules[name] = None
import motet.cli.main, motet.report, motet.report.comparison, motet.evaluation.battery
from pathlib import Path
assert not motet.report.installed()
try:
    motet.report.write_study_report(Path("."), site_pages="left out")
except motet.report.ReportExtraError as error:
    print(error)
"""


def test_base_install() -> None:
    """Catches an import of the extra that keeps a hospital's base install from starting."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'motet[report]'" in done.stdout
