# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection, see that the tarball holds what it should and nothing else, import it as Galaxy does, and install it as the docs say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
WORK = CHECKOUT / ".cache/tarball"
PAGE = CHECKOUT / "docs/operate.md"
TAG = "release"

# Files of the repository that the tarball does without: galaxy.yml becomes MANIFEST.json.
LEFT_OUT = re.compile(r"\.ci/.*|galaxy\.yml")
MADE_BY_THE_BUILD = {"MANIFEST.json", "FILES.json"}
# Whatever LEFT_OUT says, an installed collection is nothing without these.
INDISPENSABLE = re.compile(
    r"(roles|plugins|playbooks|meta|docs)/.*|LICENSE|README\.md|CHANGELOG\.rst|changelogs/changelog\.yaml"
)
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}")

IMPORTER = {
    "GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP": str(WORK / "importer"),
    "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true",
    "GALAXY_IMPORTER_REQUIRE_V1_OR_GREATER": "true",
    # `make lint` and tools/ansible-test do that.
    "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false",
    "GALAXY_IMPORTER_RUN_ANSIBLE_TEST": "false",
}


def run(*command: str | Path, cwd: Path = WORK, **variables: str) -> str:
    """Run a command; return what it says, or end with it."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\nerror: this failed: {' '.join(str(part) for part in command)}")
    return done.stdout


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def put_decoys(folder: Path) -> None:
    """Make what work in a checkout leaves behind: a file for each line of .gitignore, at the top and further down."""
    for line in (CHECKOUT / ".gitignore").read_text(encoding="utf-8").split():
        places = [folder] if line.startswith("/") else [folder, folder / "tests/mqttjs", folder / "roles/firehose"]
        for place in places:
            path = place / line.strip("/").replace("*", "decoy") / ("decoy" if line.endswith("/") else "")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("not for the tarball\n", encoding="utf-8")


def make_release(folder: Path) -> None:
    """Make a git repository with a tag of a copy."""
    git = ["git", "-c", "user.name=release", "-c", "user.email=release@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=release"], ["tag", TAG]):
        run(*git, *words, cwd=folder)


def build() -> tuple[Path, set[str]]:
    """Build from a copy that is as messy as a checkout can be; return the tarball and the repository's files."""
    shutil.rmtree(WORK, ignore_errors=True)
    run(CHECKOUT / "tools/copy", copy := WORK / "copy", cwd=CHECKOUT)
    known = files_below(copy)
    make_release(copy)
    put_decoys(copy)
    run("ansible-galaxy", "collection", "build", "--output-path", WORK, cwd=copy)
    (tarball,) = WORK.glob("opendev-firehose-*.tar.gz")
    return tarball, known


def problems_of_contents(tarball: Path, known: set[str]) -> list[str]:
    wanted = {name for name in known if not LEFT_OUT.fullmatch(name)} | MADE_BY_THE_BUILD
    problems = [f"is left out, but indispensable: {n}" for n in known - wanted if INDISPENSABLE.fullmatch(n)]
    with tarfile.open(tarball) as tar:
        members = tar.getmembers()
        problems += [
            f"has a private key: {m.name}"
            for m in members
            if m.isfile() and PRIVATE_KEY.search(tar.extractfile(m).read())
        ]
    parents = {str(parent) for name in wanted for parent in Path(name).parents}
    problems += [f"is missing: {name}" for name in wanted - {member.name for member in members if member.isfile()}]
    problems += [f"should not be there: {m.name}" for m in members if m.name not in (parents if m.isdir() else wanted)]
    return sorted(problems)


def problems_of_import(tarball: Path) -> list[str]:
    """What Galaxy would warn of. The importer itself goes on after most errors, and its exit code says nothing of them."""
    said = run(sys.executable, "-m", "galaxy_importer.main", tarball, **IMPORTER)
    warned = re.search("^(WARNING|ERROR|CRITICAL): ", said, re.MULTILINE)
    return [f"is not imported without a warning:\n{said}"] if warned else []


def install(tarball: Path) -> None:
    """Beside ansible-core alone, and no other collection, the playbook finds all that it uses in what is installed.

    The commands are those of docs/operate.md, from a tag of a repository and from the tarball.
    """
    run(CHECKOUT / "tools/venv", "newest", cwd=CHECKOUT)
    core = CHECKOUT / ".cache/newest/bin"
    commands = re.findall(r"^ansible-galaxy collection install .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    for number, command in enumerate(commands):
        path = WORK / f"installed{number}"
        from_here = command.replace("https://opendev.org/opendev/firehose,TAG", f"file://{WORK}/copy,{TAG}")
        program, *options = from_here.replace("opendev-firehose-VERSION.tar.gz", tarball.name).split()
        run(core / program, *options, ANSIBLE_COLLECTIONS_PATH=str(path))
        tasks = run(
            core / "ansible-playbook",
            "--list-tasks",
            "--inventory=firehose,",
            "opendev.firehose.firehose",
            ANSIBLE_COLLECTIONS_PATH=str(path),
        )
        if str(path) not in tasks or "opendev.firehose.firehose : " not in tasks:
            sys.exit(f"{tasks}\nerror: this is not the playbook that was installed")
    if len(commands) != 2:
        sys.exit(f"error: {PAGE} has {len(commands)} commands that install the collection")


def main() -> None:
    tarball, known = build()
    problems = problems_of_contents(tarball, known) + problems_of_import(tarball)
    if problems:
        sys.exit("\n".join(["", *problems, f"error: {tarball.name} is not fit to be published"]))
    install(tarball)
    print(f"{tarball.relative_to(CHECKOUT)}: {tarball.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
