"""The page of examples/hyperhive-dashboard in headless Chromium, on an origin of its own, both of its ways."""

import pytest
from selenium.webdriver.support.ui import WebDriverWait

import profiles
from browser import faults, needs_chromium
from profiles import Example, profile, run_example
from streams import DEADLINE_S
from test_profile_dashboard import HIVE, LONGER, truth, wait_for_progress


@pytest.fixture
def pages():
    pages = profiles.Pages("hyperhive-dashboard")
    yield pages
    pages.close()


SHOWN = """
    const { model } = window.hive ?? {}
    if (!model) return null
    const rows = table => Object.fromEntries(model[table])
    return { containers: rows('containers'), approvals: rows('approvals'), questions: rows('questions'),
      transients: rows('transients'), tombstones: model.tombstones, inputs: model.inputs, queue: model.queue,
      updating: model.updating, seq: model.seq }"""


def model_of(driver):
    """The page's model, in the form of the hive's report."""
    shown = driver.execute_script(SHOWN)
    if shown is None:
        return None
    seq = shown.pop("seq")
    for name in ("approvals", "questions"):
        shown[name] = {int(key): without(row) for key, row in shown[name].items()}
    shown["transients"] = {key: without(row) for key, row in shown["transients"].items()}
    return seq, shown


def without(row):
    return {name: value for name, value in row.items() if name not in ("kind", "seq")}


def wait_for_model(driver, server, report):
    seq = int(server.metric("fanout_head_seq"))

    def reached(_):
        found = model_of(driver)
        return found and found[0] == seq and found

    found = WebDriverWait(driver, DEADLINE_S, 0.05).until(reached, "the page to come to the head")
    assert found[1] == report


@needs_chromium
@pytest.mark.parametrize("way", ["stream", "beside"])
def test_the_page_shows_what_is_so_while_it_changes_and_after_a_restart(start_server, chromium, pages, way):
    allowed = ("--allow-origin", pages.origin)
    server = start_server(*profile("hyperhive-dashboard"), *allowed)
    chromium.get(f"{pages.origin}/?way={way}&server={server.url}")
    with Example(HIVE, server, *LONGER) as hive:
        wait_for_progress(server, 30, hive)
        chromium.refresh()
        report = truth(hive.finish())
    wait_for_model(chromium, server, report)
    painted = f"return document.getElementById('seq').textContent === '{int(server.metric('fanout_head_seq'))}'"
    WebDriverWait(chromium, DEADLINE_S, 0.05).until(lambda driver: driver.execute_script(painted), "the painting")
    text = chromium.execute_script("return document.body.innerText")
    for name, row in report["containers"].items():
        assert name in text and row["revision"] in text
    for row in report["questions"].values():
        assert row["question"] in text
    assert "live" in chromium.find_element("id", "state").text
    port = server.http_port
    server.kill()
    # Another process with other numbers: what the page knows of the first one is worth nothing.
    again = start_server(*profile("hyperhive-dashboard"), *allowed, listen=f"127.0.0.1:{port}")
    other = truth(run_example(HIVE, again, "--fast", "--seed", 8, "--seconds", 240, "--report"))
    wait_for_model(chromium, again, other)
    assert faults(chromium) == []
    chromium.get("about:blank")


# A snapshot as of 6 that comes late: 5 and 6 are in it, 7 is not, and 8 follows it live.
LATE_SNAPSHOT = """
    const done = arguments[arguments.length - 1]
    const run = async () => {
      const [{ followBeside }, { Model }] = await Promise.all([import('/follow.js'), import('/model.js')])
      const row = (seq, name) => ({ seq, kind: 'container_state_changed', container: { name, revision: `r${seq}` } })
      const model = new Model(), notes = []
      let given, answer, asked = 0
      class Stream { constructor(options) { given = options } }
      const fetched = window.fetch
      window.fetch = () => { asked += 1; return new Promise(resolve => { answer = resolve }) }
      followBeside(Stream, '', model, { onChange() {}, onState() {}, onNote: note => notes.push(note) })
      given.onControl('$hello', {})
      given.onEvent(row(5, 'gone'))
      given.onEvent({ seq: 6, kind: 'container_removed', name: 'gone' })
      given.onEvent(row(7, 'late'))
      const before = model.containers.size
      answer({ status: 200, json: async () => ({ seq: 6, events: [row(4, 'old')] }) })
      await new Promise(resolve => setTimeout(resolve, 50))
      given.onControl('$hello', {})
      given.onEvent(row(7, 'again'))
      given.onEvent(row(8, 'live'))
      window.fetch = fetched
      return { before, asked, notes, names: [...model.containers.keys()], seq: model.seq }
    }
    run().then(done, error => done({ error: String(error) }))"""


@needs_chromium
def test_the_page_drops_of_what_it_kept_exactly_what_the_snapshot_has(chromium, pages):
    chromium.get(f"{pages.origin}/model.js")
    found = chromium.execute_async_script(LATE_SNAPSHOT)
    assert found["names"] == ["old", "late", "live"] and found["seq"] == 8, found
    assert (found["before"], found["asked"]) == (0, 1)
    assert found["notes"] == ["snapshot as of 6: 1 rows; of 3 kept events 2 were in it"]
    chromium.get("about:blank")
