"""Wheels that behave like the real Python tools, as far as the tests go.

wheels.py make FOLDER                  makes them all; prints a line `FILE SHA256` for each
wheels.py venv FOLDER WHEEL…           unpacks some into a new virtual environment
"""

import base64
import hashlib
import pathlib
import sys
import zipfile

RUFF = '''#!python
import pathlib, sys

args = sys.argv[1:]
assert args[0] in ("check", "format") and args[-1] == ".", args
checks = args[0] == "check"
failed = False
for file in sorted(pathlib.Path(".").rglob("*.py")):
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if checks and line == "import os":
            print(f"{file}:{number}:8: F401 [*] `os` imported but unused")
            failed = True
        elif not checks and line != line.rstrip():
            print(f"Would reformat: {file}")
            failed = True
sys.exit(failed)
'''

YAMLLINT = '''import pathlib, sys
import pathspec

def main():
    args = sys.argv[1:]
    assert args[:2] == ["-f", "parsable"] and args[2] in ("-c", "-d"), args
    config = pathlib.Path(args[3]).read_text() if args[2] == "-c" else args[3]
    failed = False
    for file in args[4:]:
        lines = pathlib.Path(file).read_text().splitlines()
        if lines[:1] != ["---"] and "document-start: disable" not in config:
            print(f'{file}:1:1: [warning] missing document start "---" (document-start)')
        for number, line in enumerate(lines, 1):
            if len(line) > 80:
                print(f"{file}:{number}:81: [error] line too long ({len(line)} > 80 characters) (line-length)")
                failed = True
    sys.exit(failed)
'''

MDFORMAT = '''import pathlib, sys

def main():
    args = sys.argv[1:]
    assert args[0] == "--check", args
    failed = False
    for file in args[1:]:
        lines = pathlib.Path(file).read_text().splitlines()
        if any(line != line.rstrip() for line in lines):
            print(f'Error: File "{file}" is not formatted.', file=sys.stderr)
            failed = True
    sys.exit(failed)
'''

# Name, version, requirements, source of the module, whether it is a script of its own.
WHEELS = [
    ("ruff", "0.5.7", [], RUFF, True),
    ("ruff", "0.5.8", [], RUFF, True),
    ("pathspec", "0.12.1", [], "", False),
    ("pathspec", "0.12.2", [], "", False),
    ("yamllint", "1.37.1", ["pathspec>=0.5.3"], YAMLLINT, False),
    ("yamllint_plugin", "1.0", ["yamllint"], "", False),
    ("mdformat", "0.7.22", [], MDFORMAT, False),
    ("mdformat_gfm", "0.3.7", ["mdformat>=0.7.5"], "", False),
]


def members(name, version, requires, source, is_script):
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if is_script:
        files[f"{name}-{version}.data/scripts/{name}"] = source
    else:
        files[f"{name}.py"] = source
    if "def main" in source and not is_script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {name}:main\n"
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    return files


def make(folder):
    folder.mkdir()
    for wheel in WHEELS:
        path = folder / f"{wheel[0]}-{wheel[1]}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in members(*wheel).items():
                # One date, so that the digest is always the same.
                info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
                info.external_attr = (0o100755 if "/scripts/" in name else 0o100644) << 16
                archive.writestr(info, text)
        print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def venv(folder, wheels):
    import venv

    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        name = wheel.name.split("-")[0]
        script = next(site.glob(f"{name}-*.data/scripts/{name}"), None)
        text = script.read_text() if script else f"#!python\nimport {name}\n{name}.main()\n"
        program = folder / "bin" / name
        program.write_text(text.replace("#!python", f"#!{folder}/bin/python", 1))
        program.chmod(0o755)


if sys.argv[1] == "make":
    make(pathlib.Path(sys.argv[2]))
else:
    venv(pathlib.Path(sys.argv[2]), [pathlib.Path(wheel) for wheel in sys.argv[3:]])
