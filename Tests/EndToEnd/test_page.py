"""The live page and its module, fanout.js, in headless Chromium, against the real server."""

import json
import tempfile
import threading

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import program
from browser import faults, needs_chromium
from endings import lines, open_with_small_buffer
from streams import DEADLINE_S

pytestmark = [needs_chromium, pytest.mark.timeout(300)]


class Page:
    """The page of one server, in one tab."""

    def __init__(self, driver, server):
        self.driver = driver
        self.server = server

    def open(self, fragment="", width=1280, height=800):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get("about:blank")  # so that another fragment is another visit
        self.driver.get(f"{self.server.url}/{fragment}")
        self.wait_for_state("live")
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def module(self, body, *arguments):
        """Runs the body of an async function that has fanout.js as `fanout`, and gives what it returns."""
        script = """
            const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1)
            const body = new (async () => {}).constructor('fanout', 'given', given.shift())
            import('/fanout.js').then(fanout => body(fanout, given))
                .then(value => done({ value }), error => done({ error: String(error) }))"""
        answer = self.driver.execute_async_script(script, body, *arguments)
        assert "error" not in answer, answer
        return answer["value"]

    def wait(self, condition, about):
        def holds(_):
            return condition()

        return WebDriverWait(self.driver, DEADLINE_S, 0.05).until(holds, about)

    def text(self, identifier):
        return self.run("return document.getElementById(arguments[0]).textContent", identifier)

    def wait_for_state(self, beginning):
        self.wait(lambda: self.text("state").strip().startswith(beginning), f"state {beginning}")

    def rows(self, kind=".row:not(.control)"):
        """The lines shown, from top to bottom."""
        selector = f"#rows > {kind} > summary"
        return self.run("return [...document.querySelectorAll(arguments[0])].map(row => row.textContent)", selector)

    def wait_for_row(self, words, kind=".row:not(.control)"):
        found = self.wait(lambda: [row for row in self.rows(kind) if words in row], f"a row with {words}")
        return found[0]

    def wait_for_subscribers(self, count, channel, kind="probe"):
        """Until so many get an event of this channel and type: the server learns of a reader's end in its own time."""
        event = json.dumps({"type": kind})
        self.wait(lambda: self.server.publish(event, channel=channel)["subscribers"] == count, f"{count} on {channel}")

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def fill(self, identifier, text):
        field = self.find(f"#{identifier}")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.DELETE)
        field.send_keys(text, Keys.ENTER if identifier != "publish-event" else "")


@pytest.fixture
def page(chromium, start_server):
    page = Page(chromium, start_server())
    yield page
    complaints = faults(chromium)
    # The tab lets go of the server, so that its end has no reader to say goodbye to.
    chromium.get("about:blank")
    assert complaints == []


def test_an_event_appears_with_its_place_channel_type_and_members(page):
    page.open()
    assert "$hello" in page.wait_for_row("$hello", ".hello")
    ack = page.server.publish('{"type":"deploy.started","app":"web","size_bytes":2048}', channel="deploys/eu")
    row = page.wait_for_row("deploy.started")
    for part in [str(ack["seq"]), "deploys/eu", "deploy.started", "app", "web", "2.00 KiB"]:
        assert part in row
    assert page.server.publish('{"type":"x"}')["subscribers"] == 1


def test_what_an_event_holds_is_shown_as_text_only(page):
    page.open()
    hostile = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    page.server.publish(json.dumps({"type": hostile, hostile: hostile}))
    row = page.wait_for_row("onerror")
    assert hostile in row
    page.find("#rows > .row:not(.control) > summary").click()
    page.wait(lambda: hostile.replace('"', '\\"') in page.find(".json").text, "the whole event")
    assert page.run("return document.querySelectorAll('#rows img, #rows script').length") == 0
    assert page.driver.title == "fanout"


def test_an_event_opens_to_its_json_byte_for_byte_but_for_spaces(page):
    page.open()
    event = '{"type":"exact","n":12345678901234567890,"e":1.0e+2,"s":"\\u0041\\/","a":[],"o":{},"l":[1,{"b":null}]}'
    ack = page.server.publish(event)
    page.wait_for_row("exact")
    page.find("#rows > .row:not(.control) > summary").click()
    shown = page.wait(lambda: page.run("return document.querySelector('.json')?.textContent"), "the JSON")
    assert "\n  " in shown
    compact = "".join(part.strip() for part in shown.splitlines()).replace('": ', '":')
    assert compact == f'{{"seq":{ack["seq"]},"channel":"events",' + event[1:]


def test_channels_and_types_select_on_the_server_and_text_in_the_page(page):
    page.open()
    page.fill("channels", "a/* b")
    page.wait(lambda: "channels=a%2F*+b" in page.driver.current_url, "the filter in the address")
    page.wait_for_state("live")
    page.wait_for_subscribers(0, "c")
    acks = {name: page.server.publish('{"type":"t","n":1}', channel=name) for name in ["a/x", "a/x/y", "b", "c"]}
    assert [acks[name]["subscribers"] for name in ["a/x", "a/x/y", "b", "c"]] == [1, 0, 1, 0]
    page.wait(lambda: len(page.rows()) == 2, "two rows")
    commands = page.find("#commands").text
    assert f"curl -N '{page.server.url}/v1/events?channel=a/*&channel=b'" in commands
    assert '{"$subscribe":{"channel":["a/*","b"]}}' in commands

    page.server.publish('{"type":"u","n":2,"word":"Needle"}', channel="b")
    page.wait(lambda: len(page.rows()) == 3, "three rows")
    page.fill("types", "u")
    page.wait(lambda: len(page.rows()) == 1, "only type u")
    page.wait_for_state("live")
    page.wait_for_subscribers(0, "b", kind="t")
    page.fill("types", "")
    page.fill("text", "needle")
    page.wait(lambda: len(page.rows()) == 1, "only the needle")
    page.fill("text", "")
    # Those that were published while only u was asked for are part of the past by now.
    held = page.server.get("/v1/history?channel=a/*&channel=b&limit=1000").json()["events"]
    page.wait(lambda: len(page.rows()) == len(held) > 3, "all rows")


def test_an_address_with_a_filter_opens_with_it_and_a_bad_pattern_is_explained(page):
    page.open("#channels=a%2F*&types=t")
    assert page.run("return [document.getElementById('channels').value, document.getElementById('types').value]") == [
        "a/*",
        "t",
    ]
    assert page.server.publish('{"type":"t"}', channel="b")["subscribers"] == 0
    assert page.server.publish('{"type":"u"}', channel="a/1")["subscribers"] == 0
    assert page.server.publish('{"type":"t"}', channel="a/1")["subscribers"] == 1
    page.wait_for_row("a/1")
    page.fill("channels", "a//b")
    page.wait(lambda: "a//b" in page.text("filter-fault"), "the fault")
    assert page.server.publish('{"type":"t"}', channel="a/1")["subscribers"] == 1, "the subscription stays as it was"


def test_a_channel_is_picked_from_the_list_with_the_servers_count(page):
    for _ in range(3):
        page.server.publish('{"type":"before"}', channel="jobs")
    page.open()
    button = 'button[data-name="jobs"]'
    page.wait(lambda: page.run(f"return document.querySelector('{button} b')?.textContent") == "3", "three events")
    page.find(button).click()
    page.wait(lambda: page.find(button).get_attribute("aria-pressed") == "true", "picked")
    page.wait_for_subscribers(0, "other")
    page.wait_for_subscribers(1, "jobs")
    page.find(button).click()
    page.wait_for_subscribers(1, "other")


def numbers(page):
    """The member `n` of the events shown, from top to bottom."""
    return [int(row.rpartition("n")[2]) for row in page.rows()]


def test_the_page_begins_with_the_past_and_goes_on_without_a_hole(page):
    page.server.publish_batch(f'{{"type":"past","n":{n}}}' for n in range(40))
    page.open()
    page.server.publish('{"type":"live","n":40}')
    page.wait(lambda: numbers(page) == list(reversed(range(41))), "the past and the present")
    page.wait(lambda: page.text("received") == "41", "all of them counted, once")


def test_another_filter_brings_its_own_past_and_each_event_stands_there_once(page):
    for n in range(6):
        page.server.publish(f'{{"type":"t","n":{n}}}', channel="ab"[n % 2])
    page.open("#channels=a")
    page.wait(lambda: numbers(page) == [4, 2, 0], "the past of one channel")
    page.server.publish('{"type":"t","n":6}', channel="a")
    page.wait(lambda: numbers(page) == [6, 4, 2, 0], "a live event")
    page.fill("channels", "")
    page.wait(lambda: numbers(page) == [6, 5, 4, 3, 2, 1, 0], "the past of all channels in its place")


def test_a_pause_counts_what_waits_and_loses_nothing(page):
    page.open()
    page.server.publish('{"type":"first"}')
    page.wait_for_row("first")
    page.find("#pause").click()
    page.server.publish_batch(f'{{"type":"later","n":{n}}}' for n in range(7))
    page.wait(lambda: "7 waiting" in page.text("waiting"), "seven waiting")
    assert len(page.rows()) == 1
    page.find("#waiting").click()
    page.wait(lambda: len(page.rows()) == 8, "eight rows")
    assert [row[-2:].strip() for row in page.rows()[:7]] == [str(n) for n in reversed(range(7))]
    page.find("#order").click()
    page.wait(lambda: "first" in "".join(page.rows()[:1]), "the oldest on top")
    page.find("#clear").click()
    page.wait(lambda: page.rows() == [], "nothing")


def test_ten_thousand_events_are_all_counted_and_few_kept_in_the_document(page):
    page.open()
    for start in range(0, 10_000, 500):
        page.server.publish_batch(f'{{"type":"flood","n":{n}}}' for n in range(start, start + 500))
    page.wait(lambda: page.text("received") == "10,000", "ten thousand received")
    page.wait_for_row("9999")
    assert page.run("return document.querySelectorAll('#rows > *').length") <= 500
    assert page.run("return document.getElementById('missed-fact').hidden")


def test_the_servers_end_and_return_are_shown_and_what_is_gone_is_said(page, start_server):
    page.open()
    page.server.publish('{"type":"x"}')
    page.wait_for_row("x")
    port = page.server.http_port
    page.server.stop()
    assert "shutting down (1001 shutdown)" in page.wait_for_row("$bye", ".bye")
    page.wait_for_state("reconnecting")
    page.server = start_server(listen=f"127.0.0.1:{port}")
    page.wait_for_state("live")
    assert "numbering began anew" in page.wait_for_row("$gap", ".gap")
    page.server.publish('{"type":"afterwards"}')
    page.wait_for_row("afterwards")


def test_the_form_publishes_and_a_refusal_says_why(page):
    page.open()
    page.fill("publish-channel", "notes")
    page.fill("publish-event", '{"type":"note","text":"hi"}')
    page.find("#publish button").click()
    page.wait_for_row("note")
    page.wait(lambda: "accepted · 1 reader" in page.text("ack"), "the ack")
    page.fill("publish-event", '{"type":')
    page.find("#publish button").click()
    page.wait(lambda: "invalid_json" in page.text("ack"), "the refusal")


def test_the_panel_says_what_the_server_is_doing(page):
    page.open()
    shown = page.wait(lambda: (text := page.find("#server").text) and "sse" in text and text, "the panel")
    for fact in ["backend", "uptime", "connections", "events in", "deliveries", "bytes out"]:
        assert fact in shown


def test_the_panel_names_who_is_behind_and_nobody_else(page):
    page.open()
    page.wait(lambda: "sse" in page.find("#server").text, "the panel")
    assert not page.find("#behind").is_displayed()
    with open_with_small_buffer(page.server, "tcp", 4096, channel=["big"]) as stopped:
        page.server.publish_batch(lines(300, 3_000), channel="big")
        shown = page.wait(lambda: page.find("#behind").text, "somebody to be behind")
        assert "{}:{}".format(*stopped.stream.socket.getsockname()) in shown
        assert "jsonl_tcp · big · " in shown and " events" in shown
    page.wait(lambda: not page.find("#behind").is_displayed(), "nobody to be behind")


def test_the_colours_follow_the_system_until_they_are_chosen(page):
    page.open()

    def colours(scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        return page.run("return getComputedStyle(document.documentElement).backgroundColor")

    light, dark = colours("light"), colours("dark")
    assert light != dark
    page.find("#theme").click()
    assert colours("dark") == light
    page.open()
    assert colours("dark") == light, "the choice outlives the visit"
    page.find("#theme").click()
    assert colours("light") == dark
    page.find("#theme").click()
    assert colours("light") == light


@pytest.mark.parametrize("width", [360, 390, 760, 761, 1100, 1101, 1600])
def test_no_width_needs_sideways_scrolling(page, width):
    page.open(width=width, height=740)
    page.server.publish(json.dumps({"type": "wide" * 20, "text": "word" * 200}), channel="a/" + "long-name" * 9)
    page.wait_for_row("wide")
    views = ["stream", "filter", "server", "try"] if width <= 760 else ["stream"]
    for view in views:
        if width <= 760:
            page.find(f'.tabs [data-view="{view}"]').click()
        assert page.run("return document.documentElement.scrollWidth <= innerWidth"), view
        assert page.run("const rows = document.getElementById('rows'); return rows.scrollWidth <= rows.clientWidth")


def test_the_keyboard_reaches_the_events(page):
    page.open()
    page.server.publish_batch(f'{{"type":"key","n":{n}}}' for n in range(3))
    page.wait(lambda: len(page.rows()) == 3, "three rows")
    rows = page.find("#rows")
    rows.send_keys(Keys.ARROW_DOWN)
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: '"n": 1' in page.run("return document.querySelector('.json')?.textContent ?? ''"), "the second")
    page.find("body").send_keys("/")
    assert page.driver.switch_to.active_element.get_attribute("id") == "text"


def test_the_module_reads_publishes_and_closes(page):
    page.open()
    seen = page.module(
        """
        const seen = { events: [], controls: [], states: [] }
        const stream = new fanout.EventStream({
          channels: ['m/*'], types: ['a', 'b'],
          onEvent: (event, { id, text }) => seen.events.push([event, id, text]),
          onControl: (name, record) => seen.controls.push([name, record]),
          onState: state => seen.states.push(state.name),
        })
        const until = async condition => { while (!condition()) await new Promise(next => setTimeout(next, 20)) }
        await until(() => seen.controls.length)
        seen.acks = []
        for (const [type, channel] of [['a', 'm/1'], ['c', 'm/1'], ['a', 'n'], ['b', 'm/2']]) {
          seen.acks.push(await fanout.publish({ type, text: 'ü' }, { channel }))
        }
        await until(() => seen.events.length === 2)
        seen.last = stream.lastEventID
        seen.epoch = stream.hello.epoch
        stream.close()
        await fanout.publish('[]').catch(error => { seen.refusal = [error.name, error.code, error.status] })
        return seen"""
    )
    (name, hello), = seen["controls"]
    assert (name, hello["epoch"]) == ("$hello", seen["epoch"])
    acks = seen["acks"]
    assert [event for event, _, _ in seen["events"]] == [
        {"seq": acks[0]["seq"], "channel": "m/1", "type": "a", "text": "ü"},
        {"seq": acks[3]["seq"], "channel": "m/2", "type": "b", "text": "ü"},
    ]
    assert [cursor for _, cursor, _ in seen["events"]] == [acks[0]["cursor"], acks[3]["cursor"]]
    assert all(json.loads(text) == event for event, _, text in seen["events"])
    assert seen["last"] == acks[3]["cursor"]
    assert seen["states"] == ["live", "ended"]
    assert seen["refusal"] == ["PublishError", "not_an_object", 400]


def test_the_module_resumes_without_a_hole(page):
    page.open()
    acks = [page.server.publish(f'{{"type":"r","n":{n}}}', channel="resume") for n in range(5)]
    numbers, gaps = page.module(
        """
        const numbers = [], gaps = []
        const stream = new fanout.EventStream({
          channels: ['resume'], from: given[0],
          onEvent: event => numbers.push(event.seq),
          onControl: (name, record) => name === '$gap' && gaps.push([record.from, record.to, record.dropped]),
        })
        const told = () => numbers.length + gaps.reduce((sum, [from, to, dropped]) => sum + dropped, 0)
        while (told() < 3) await new Promise(next => setTimeout(next, 20))
        stream.close()
        return [numbers, gaps]""",
        acks[1]["cursor"],
    )
    covered = numbers + [number for first, last, _ in gaps for number in range(first, last + 1)]
    assert sorted(covered) == [ack["seq"] for ack in acks[2:]]


def test_the_module_goes_on_from_the_past_without_a_hole_while_events_are_published(page):
    page.open()
    page.server.publish_batch(f'{{"n":{n}}}' for n in range(100))
    stopped = threading.Event()

    def publish():
        n = 100
        while not stopped.is_set():
            page.server.publish(f'{{"n":{n}}}', channel="events")
            n += 1

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        streams = page.module(
            """
            const streams = []
            for (let round = 0; round < 20; round += 1) {
              const seen = { past: [], live: [] }
              const stream = new fanout.EventStream({
                past: 50, onEvent: (event, { past }) => seen[past ? 'past' : 'live'].push(event.n),
              })
              while (seen.live.length < 5) await new Promise(next => setTimeout(next, 5))
              stream.close()
              streams.push(seen)
            }
            return streams"""
        )
    finally:
        stopped.set()
        publisher.join()
    for seen in streams:
        assert len(seen["past"]) == 50
        first = seen["past"][0]
        together = seen["past"] + seen["live"]
        assert together == list(range(first, first + len(together)))


def test_the_module_ends_with_the_servers_reason_when_it_is_refused(page):
    page.open()
    states = page.module(
        """
        const states = []
        new fanout.EventStream({ channels: ['no//pattern'], onState: state => states.push(state) })
        while (!states.length) await new Promise(next => setTimeout(next, 20))
        return states"""
    )
    assert [state["name"] for state in states] == ["ended"]
    assert states[0]["reason"]


def test_the_demo_is_seen_on_the_page(chromium, start):
    with tempfile.TemporaryDirectory(prefix="fanout-") as folder:
        demo = start("demo", "--listen", "127.0.0.1:0", "--runtime-dir", f"{folder}/run")
        line = demo.stdout.wait_for(lambda line: line.startswith(b"page ")).decode()
        demo.url = line.split()[1].rstrip("/")
        page = Page(chromium, demo).open()
        for kind in ["cpu.sample", "memory.sample", "network.sample", "filesystem.sample"]:
            page.wait_for_row(kind)
        assert faults(page.driver) == []
        chromium.get("about:blank")
        demo.signal(program.signal.SIGINT)
        assert demo.wait() == 0
