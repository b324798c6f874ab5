"""Fetch the console's libraries from npm, pinned, and lay them into src/turnout/console/vendor with their licences.

Run by hand when a version is raised: python tools/vendor_console.py
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parent.parent / "src/turnout/console/vendor"

PACKAGES = {
    "preact@11.2.0": {"dist/preact.mjs": "preact.mjs", "hooks/dist/hooks.mjs": "hooks.mjs"},
    "htm@3.1.1": {"dist/htm.mjs": "htm.mjs"},
}
"""By package and version: its file, and what it is called here."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for package, files in PACKAGES.items():
            name = package.partition("@")[0]
            subprocess.run(
                ["npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", package],  # noqa: S607
                check=True,
            )
            home = Path(folder) / "node_modules" / name
            for theirs, ours in files.items():
                text = (home / theirs).read_text("utf-8").rsplit("\n//# sourceMappingURL=", 1)[0]
                # Browsers resolve no bare names without an import map, and that would be an inline script.
                text = text.replace('from"preact"', 'from"./preact.mjs"')
                (VENDOR / ours).write_text(f"/*! {package}, see {name}.LICENSE.txt */\n{text}\n", "utf-8")
            (VENDOR / f"{name}.LICENSE.txt").write_bytes((home / "LICENSE").read_bytes())


if __name__ == "__main__":
    main()
