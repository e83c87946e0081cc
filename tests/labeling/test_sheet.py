"""Names of files and classes are text on a contact sheet."""

from html.parser import HTMLParser

import numpy as np

from cl_as_gnn.labeling.sheet import write_sheet

HOSTILE = ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & 'b' $style {x}"]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.names, self.text = set(), set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def test_hostile_names_stay_text(tmp_path):
    picture = np.zeros((1, 8, 8), np.uint8)
    write_sheet(tmp_path / "sheet.html", HOSTILE[0], HOSTILE[1], [[picture]] * 3, [[name, name] for name in HOSTILE])
    page = Tags()
    page.feed((tmp_path / "sheet.html").read_text())
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name in page.names)
    for name in HOSTILE:
        assert page.text.count(name) >= 2
