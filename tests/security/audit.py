"""Asks whether advisories are known against what is installed, and says loudly what could not be asked: `python -m tests.security.audit`.

`pip-audit` alone ends with "No known vulnerabilities found" also where its service knew none of the packages, as it does behind a mirror
of the package index that serves no advisories. Here that is said in capitals, and what can be told without advisories is told: which
packages are behind their newest release. The exit code is 1 for a known vulnerability, and with --strict also where nothing could be asked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

#: Advisories that do not concern us, each with the reason why. `ID: reason`.
EXCEPTIONS: dict[str, str] = {}
TIMEOUT_S = 240


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true", help="fail where advisories could not be asked for")
    strict = parser.parse_args().strict
    ignored = [word for name in EXCEPTIONS for word in ("--ignore-vuln", name)]
    for name, reason in EXCEPTIONS.items():
        print(f"left out: {name}: {reason}")
    answer = ask("pip_audit", "--format", "json", "--progress-spinner", "off", *ignored)
    try:
        packages = json.loads(answer.stdout)["dependencies"]
    except (ValueError, KeyError):
        packages = []
        print(answer.stderr.strip().splitlines()[-1:] or "pip-audit said nothing")
    asked = [package for package in packages if "vulns" in package]
    bad = [(package, vulnerability) for package in asked for vulnerability in package["vulns"]]
    for package, vulnerability in bad:
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {vulnerability.get('fix_versions')}")
    print(f"advisories were asked for {len(asked)} of {len(packages)} packages; {len(bad)} are known")
    if len(asked) < len(packages) or not packages:
        left = len(packages) - len(asked) if packages else "all"
        print(f"!!! NOT AUDITED: {left} packages; the advisory service does not know them or is out of reach.")
        print_outdated()
    return 1 if bad or (strict and not asked) else 0


def print_outdated() -> None:
    answer = ask("pip", "list", "--outdated", "--format", "json", "--disable-pip-version-check")
    try:
        old = json.loads(answer.stdout)
    except ValueError:
        print("!!! and the package index did not say which of them are behind their newest release")
        return
    said = ", ".join(f"{package['name']} {package['version']} < {package['latest_version']}" for package in old)
    print(f"behind their newest release: {said or 'none'}")


def ask(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {TIMEOUT_S} s")


if __name__ == "__main__":
    sys.exit(main())
