"""The page in a real browser, light, dark and on a phone: nothing complains or is fetched, and all of it works."""

import pytest

from cl_as_gnn.report import write_report

CANVAS = "document.querySelector('.pane canvas')"
SHADES = "new Set(new Uint32Array({0}.getContext('2d').getImageData(0, 0, {0}.width, {0}.height).data.buffer)).size"


@pytest.fixture(scope="module")
def pages(three, tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    write_report(three[0], root / "one.html", plane="tsne")
    write_report(three, root / "several.html", plane="pca")
    return root


def center(browser, selector):
    find = f"document.querySelector({selector!r})"
    browser.run(f"{find}.scrollIntoView({{block: 'center'}})")
    box = f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({find}.getBoundingClientRect())"
    return browser.run(box)


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"width": 390, "height": 844, "phone": True}])
@pytest.mark.parametrize("name", ["one.html", "several.html"])
def test_every_look(browser, pages, name, look):
    browser.complaints.clear()
    browser.open(pages / name, **look)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    assert browser.run(SHADES.format(CANVAS)) > 10, "the map is drawn"
    light = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light is not look.get("dark", False)
    browser.run("document.querySelector('button.theme').click()")
    assert (browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)") is not light
    assert browser.complaints == []


def test_the_map_answers(browser, pages):
    browser.complaints.clear()
    browser.open(pages / "one.html")
    card = "document.querySelector('.card').innerText"
    assert "Point at a dot" in browser.run(card)
    browser.run(f"{CANVAS}.focus()")
    browser.key("ArrowRight")
    first = browser.run(card)
    assert "test image" in first
    assert "% of the votes" in first
    assert browser.run("document.querySelectorAll('.card .row button').length") == 6
    browser.key("ArrowRight")
    assert browser.run(card) != first
    browser.run("document.querySelector('.card .row button').click()")
    neighbor = browser.run(card)
    browser.key("Escape")
    assert "Point at a dot" in browser.run(card) != neighbor
    for group in range(3):  # colors, planes, dots or pictures
        before = browser.run(f"{CANVAS}.toDataURL()")
        browser.run(f"[...document.querySelectorAll('.choice')][{group}].querySelectorAll('input')[1].click()")
        browser.run("new Promise((done) => setTimeout(done, 60))")
        assert browser.run(f"{CANVAS}.toDataURL()") != before, group
    before = browser.run(f"{CANVAS}.toDataURL()")
    browser.run("document.querySelector('.zooms button').click()")
    assert browser.run(f"{CANVAS}.toDataURL()") != before
    assert browser.complaints == []


def test_a_finger_and_a_mouse_find_a_dot(browser, pages):
    browser.complaints.clear()
    card = "document.querySelector('.card').innerText"
    for phone in (False, True):
        browser.open(pages / "several.html", **({"width": 390, "height": 844, "phone": True} if phone else {}))
        x, y = center(browser, ".pane canvas")
        for step in range(12):  # until a dot is near
            (browser.tap if phone else browser.mouse)(x, y - 40 + 10 * step)
            if "test image" in browser.run(card):
                break
        assert browser.run("document.querySelectorAll('.judged').length") == 3, "what each run says of it"
    assert browser.complaints == []


def test_edges_have_switches_and_nodes_show_their_neighbors(browser, pages):
    browser.complaints.clear()
    browser.open(pages / "one.html")
    hidden = "document.querySelectorAll('.batch .edge.off').length"
    assert browser.run(hidden) == 0
    browser.run("document.querySelector('.switches input').click()")
    assert browser.run(hidden) > 0
    browser.run("document.querySelector('.switches input').click()")
    browser.run("document.querySelector('.batch .node').focus()")
    lit, every = (browser.run(f"document.querySelectorAll('.batch .node{kind}').length") for kind in (".lit", ""))
    assert 2 <= lit < every
    joined = """[...document.querySelectorAll('.edge.lit')].every((edge) =>
        ['view-0', 'sample-0'].some((end) => [edge.dataset.a, edge.dataset.b].includes(end)))"""
    assert browser.run(joined)
    assert browser.complaints == []


def test_a_chart_tells_an_epoch(browser, pages):
    browser.complaints.clear()
    browser.open(pages / "several.html")
    browser.mouse(*center(browser, "svg.chart"))
    told = browser.run("document.querySelector('.readout').innerText")
    assert told.startswith("Epoch ")
    assert "simclr/seed0" in told
    assert browser.complaints == []
