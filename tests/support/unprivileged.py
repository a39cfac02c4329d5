"""Run a program as a user without rights, also where the tests run as root out of folders that only root may enter."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

NOBODY = 65534
"""User and group id."""

# In a mount namespace of its own, each folder that others may not enter is covered by one that they may, which shows
# the same sub-folders. Nothing outside changes. Arguments: user, a scratch folder, the folders, "--", the program.
_SCRIPT = """
set -e
user=$1; scratch=$2; shift 2
mount -t tmpfs tmpfs "$scratch"
i=0
while [ "$1" != -- ]; do
    i=$((i+1))
    mkdir "$scratch/$i"
    mount --bind "$1" "$scratch/$i"
    mount -t tmpfs -o mode=755 tmpfs "$1"
    for entry in "$scratch/$i"/* "$scratch/$i"/.[!.]*; do
        if [ -d "$entry" ] && [ ! -L "$entry" ]; then
            mkdir "$1/${entry##*/}"
            mount --rbind "$entry" "$1/${entry##*/}"
        fi
    done
    shift
done
shift
exec setpriv --reuid="$user" --regid="$user" --clear-groups --inh-caps=-all --no-new-privs "$@"
"""


def without_namespaces() -> list[str]:
    """Return what to put in front of a command, so that the kernel refuses it user namespaces."""
    # The limit of a namespace holds for all that is made inside it.
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]


def closed_folders() -> list[Path]:
    """Return the folders above this interpreter, its libraries and the package that only their owner may enter."""
    import sagespark

    places = [Path(sys.executable), Path(sys.executable).resolve(), Path(sys.prefix), Path(sys.base_prefix)]
    places.append(Path(sagespark.__file__))
    above = {parent for place in places for parent in place.parents}
    return sorted(folder for folder in above if not folder.stat().st_mode & stat.S_IXOTH)


def as_nobody(scratch: Path) -> list[str]:
    """Return what to put in front of a command, so that it runs without rights; ``scratch`` is an empty folder."""
    if os.geteuid() != 0:
        return []
    closed = [str(folder) for folder in closed_folders()]
    return [
        *("unshare", "--mount", "--propagation", "private"),
        *("sh", "-c", _SCRIPT, "sh", str(NOBODY), str(scratch), *closed, "--"),
    ]
