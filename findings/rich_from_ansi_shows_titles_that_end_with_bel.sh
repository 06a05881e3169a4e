#!/usr/bin/env bash
# rich 15.0.0: Text.from_ansi shows the inside of an escape sequence that ends with BEL.
#
# A terminal's title (OSC 0) and a link (OSC 8) may end with ESC \ or with BEL, and both are in use: `ls --hyperlink`,
# shells' prompts and many progress bars write BEL. rich takes the first kind out. Of the second it takes out the two
# control characters alone, and what stood between them becomes text, in front of the line that a person wanted to read.
#
# Seen with rich 15.0.0 on Python 3.11:
#   ESC ] 0 ; rendering 12/40 ESC \ frame 12   ->  "frame 12"
#   ESC ] 0 ; rendering 12/40 BEL frame 12     ->  "0;rendering 12/40frame 12"
#   a link that ends with BEL, named "log"     ->  "8;;https://example.org/loglog8;;"
#
# What follows: output of programs that is shown by rich's reading of escapes needs such sequences taken out before.
# Needs python3 with venv, and PyPI. Ends with an error when the behaviour is another.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check rich==15.0.0 markdown-it-py==4.0.0 pygments==2.19.2
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from rich.text import Text

ESC, BEL = "\x1b", "\x07"
link = f"{ESC}]8;;https://example.org/log{BEL}log{ESC}]8;;{BEL}"
seen = {
    "title, ESC \\": Text.from_ansi(f"{ESC}]0;rendering 12/40{ESC}\\frame 12").plain,
    "title, BEL": Text.from_ansi(f"{ESC}]0;rendering 12/40{BEL}frame 12").plain,
    "link, BEL": Text.from_ansi(link).plain,
}
print("rich", version("rich"))
for what, text in seen.items():
    print(f"{what}: {text!r}")
assert seen == {
    "title, ESC \\": "frame 12",
    "title, BEL": "0;rendering 12/40frame 12",
    "link, BEL": "8;;https://example.org/loglog8;;",
}, "rich behaves otherwise now"
PYTHON
