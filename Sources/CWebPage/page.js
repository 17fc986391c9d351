/* The live page: one EventStream drawn as it arrives, and what the server says about itself. */
import { EventStream, publish } from './fanout.js'

const rowsMax = 500 // rows in the document
const entriesMax = 2000 // records kept to filter again by text
const entryCharactersMax = 8_000_000
const namesMax = 400 // channels and types listed
const stripSeconds = 120
const hueCount = 10
const pollMilliseconds = 2000
const busyPauseMilliseconds = 150

const byID = id => document.getElementById(id)
const grouped = new Intl.NumberFormat('en').format
const patternForm = /^(?:(?:[A-Za-z0-9._~-]+|\*)\/)*(?:[A-Za-z0-9._~-]+|\*\*?)$/

function make(tag, className, text) {
  const element = document.createElement(tag)
  if (className) element.className = className
  if (text !== undefined) element.textContent = text
  return element
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/* Numbers for people */

function inBytes(value) {
  if (value < 1024) return `${Math.round(value)} B`
  const power = Math.min(5, Math.floor(Math.log2(value) / 10))
  const scaled = value / 1024 ** power
  return `${scaled.toFixed(scaled < 10 ? 2 : scaled < 100 ? 1 : 0)} ${'BKMGTP'[power]}iB`
}

function inTime(seconds) {
  const [d, h, m] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor)
  if (d) return `${d} d ${h} h`
  if (h) return `${h} h ${m} min`
  return m ? `${m} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`
}

function short(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value < 1e7 ? 2 : 1)} M`
  return value >= 100 || Number.isInteger(value) ? grouped(Math.round(value)) : value.toFixed(1)
}

const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`

function clock(milliseconds) {
  const date = new Date(milliseconds)
  const two = number => String(number).padStart(2, '0')
  const whole = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${whole}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

/* The filter: the subscription's channels and types (the server applies them), and text (applied here) */

const filter = { channels: [], types: [], text: '' }

function words(text) {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))]
}

const matchers = new Map() // pattern → regular expression
function channelMatches(pattern, name) {
  if (!matchers.has(pattern)) {
    if (matchers.size > 200) matchers.clear()
    const segments = pattern.split('/').map(segment =>
      segment === '**' ? '.+' : segment === '*' ? '[^/]+' : segment.replace(/[.~]/g, '\\$&'))
    matchers.set(pattern, new RegExp(`^${segments.join('/')}$`))
  }
  return matchers.get(pattern).test(name)
}

const channelWanted = name => !filter.channels.length || filter.channels.some(pattern => channelMatches(pattern, name))

function wanted(entry) {
  if (entry.kind === 'event') {
    if (filter.types.length && !filter.types.includes(entry.type)) return false
    if (entry.channel !== undefined && !channelWanted(entry.channel)) return false
  }
  return !filter.text || entry.kind !== 'event' || entry.text.toLowerCase().includes(filter.text)
}

function readFilter() {
  const channels = words(byID('channels').value)
  const wrong = channels.find(pattern => !patternForm.test(pattern))
  byID('channels').toggleAttribute('aria-invalid', wrong !== undefined)
  setText(byID('filter-fault'), wrong === undefined ? ''
    : `“${wrong}” is no channel: segments of A-Z a-z 0-9 . _ ~ - joined by /, * for one, ** last for the rest`)
  if (wrong !== undefined) return
  const types = words(byID('types').value)
  const text = byID('text').value.trim().toLowerCase()
  const sameStream = channels.join() === filter.channels.join() && types.join() === filter.types.join()
  if (sameStream && text === filter.text) return
  Object.assign(filter, { channels, types, text })
  const place = new URLSearchParams()
  if (channels.length) place.set('channels', channels.join(' '))
  if (types.length) place.set('types', types.join(' '))
  if (text) place.set('text', text)
  history.replaceState(null, '', `${location.pathname}${location.search}${place.size ? `#${place}` : ''}`)
  if (!sameStream) subscribe()
  redraw()
  drawNames()
  drawCommands()
}

function toggleWord(input, word) {
  const present = words(input.value)
  input.value = (present.includes(word) ? present.filter(other => other !== word) : [...present, word]).join(' ')
  readFilter()
}

/* The subscription */

let stream
let head = 0n
let received = 0
let missed = 0
let everLive = false

function subscribe() {
  const previous = stream
  stream = null
  previous?.close()
  stream = new EventStream({
    channels: filter.channels,
    types: filter.types,
    past: rowsMax, // the newest of what the server holds
    onLag: 'gap', // a browser that falls behind is to see what it missed, not to be cut off
    onEvent: arrived,
    onControl: controlled,
    onState: showState,
  })
  showState(stream.state)
}

function showState(state) {
  if (!stream) return // the stream that is just being replaced
  const element = byID('state')
  element.dataset.state = state.name
  element.title = state.reason ?? ''
  byID('retry').hidden = state.name !== 'reconnecting' || state.at === undefined
  countDown()
  if (state.name === 'live') everLive = true
  if (state.reason === 'connection lost') note('connection lost; the stream will go on from where it stopped')
  if (state.name === 'ended' && state.reason !== 'closed here') note(`the stream has ended: ${state.reason}`)
  present().live = state.name === 'live'
  showEmpty()
}

function countDown() {
  const { name, at, reason } = stream?.state ?? { name: 'connecting' }
  const seconds = at === undefined ? 0 : Math.ceil((at - Date.now()) / 1000)
  const text = name === 'reconnecting' ? (seconds > 0 ? `reconnecting in ${seconds} s` : 'reconnecting…')
    : name === 'ended' ? `ended: ${reason}` : name
  setText(byID('state').lastElementChild, text)
}

function placeOf(id) {
  const dash = id.lastIndexOf('-')
  if (dash < 0) return
  setText(byID('epoch'), id.slice(0, dash))
  const seq = BigInt(id.slice(dash + 1).replace(/\D/g, '') || 0)
  if (seq > head) head = seq
}

function arrived(event, { id, text, past }) {
  const type = typeof event.type === 'string' ? event.type : typeof event.kind === 'string' ? event.kind : undefined
  const channel = typeof event.channel === 'string' ? event.channel : undefined
  const at = Date.parse(event.time) || (past ? undefined : Date.now())
  const seq = event.seq ?? id.slice(id.lastIndexOf('-') + 1)
  const entry = { kind: 'event', at, epoch: stream.lastEventID.slice(0, 16), seq, channel, type, event, text }
  const place = past ? placeAmong(entry) : entries.length
  if (place === undefined) return
  received += 1
  if (id) placeOf(id)
  const seen = nameOf(channels, channel)
  if (seen) seen.seen += 1
  const kind = nameOf(types, type)
  if (kind) kind.seen += 1
  if (!past) {
    const now = present()
    now.total += 1
    now.hues[hueOf(channel)] += 1
  }
  keep(entry, place)
}

/* Where an event of the past belongs among what another filter has left; undefined if it is there already. */
function placeAmong({ epoch, seq, text }) {
  const isLater = each => typeof seq === 'number' && each.seq !== '' && each.seq >= seq
  const next = entries.findIndex(each => each.epoch === epoch && (each.text === text || isLater(each)))
  if (next < 0) return entries.length
  return entries[next].text === text ? undefined : next
}

const endings = {
  1000: 'ended', 1001: 'shutting down', 1011: 'internal error', 1012: 'restarting', 1013: 'overloaded',
  4008: 'this reader was too slow', 4403: 'no longer allowed',
}
const lossReasons = {
  lagged: 'this reader fell behind', pruned: 'no longer stored', ahead: 'the cursor was ahead of the server',
  unknown_epoch: 'the server’s numbering began anew', rewound: 'the server lost its tail',
  upstream: 'lost before the server',
}

function controlled(name, record, { id, text }) {
  if (id) placeOf(id)
  if (name === '$hello') {
    head = BigInt(Math.max(0, Math.trunc(record.seq) || 0)) // a new epoch may begin lower
    setText(byID('epoch'), String(record.epoch ?? '–'))
    if (record.server) byID('epoch').title = String(record.server)
  }
  if (name === '$gap') {
    missed += Number(record.dropped) || 0
    present().gap = true
  }
  keep({ kind: name.slice(1), at: Date.now(), seq: '', type: name, says: sentence(name, record), event: record, text })
}

/* What a control record says, for people. */
function sentence(name, { server, epoch, seq, code, why, last, retry_ms: retry, from, to, dropped, count }) {
  const number = value => grouped(Number(value) || 0)
  const parts = {
    $hello: [server ?? 'server', `head ${number(seq)}`, `epoch ${epoch}`],
    $bye: [
      `${endings[code] ?? why} (${code} ${why})`, last && `last ${last}`,
      retry !== undefined && `back in ${Math.max(1, Math.round(retry / 1000))} s`,
    ],
    $gap: [
      `missed ${dropped === undefined ? 'an unknown number of events' : counted(Number(dropped), 'event')}`,
      from !== undefined && `seq ${number(from)} to ${number(to)}`, lossReasons[why] ?? why,
    ],
  }
  const others = [`seq ${number(seq)}`, count !== undefined && counted(count, 'event')]
  return (parts[name] ?? others).filter(Boolean).join(' · ')
}

/* The stream as drawn: whatever arrived since the last frame, in one go */

const rows = byID('rows')
const entries = []
let entryCharacters = 0
let pending = []
let overflowed = 0 // waiting events that a long pause pushed out
let frame = 0
let lastDrawn = 0
let newestFirst = true
const hold = { paused: false, away: false, reading: false }
const held = () => hold.paused || hold.away || hold.reading

function keep(entry, place = entries.length) {
  const isLast = place === entries.length
  entries.splice(place, 0, entry)
  entryCharacters += entry.text.length
  while (entries.length > entriesMax || (entryCharacters > entryCharactersMax && entries.length > 1)) {
    entryCharacters -= entries.shift().text.length
  }
  if (!wanted(entry)) return
  if (!isLast) return redrawSoon()
  pending.push(entry)
  if (pending.length > 2 * rowsMax) {
    overflowed += pending.length - rowsMax
    pending = pending.slice(-rowsMax)
  }
  schedule()
}

function note(says) {
  const last = entries[entries.length - 1]
  if (last?.kind !== 'note' || last.says !== says) keep({ kind: 'note', at: Date.now(), seq: '', says, text: '' })
}

/* At most once per frame, and under load seldom enough that drawing leaves the machine to others. */
function schedule() {
  if (frame) return
  frame = 1
  const pause = lastDrawn + (strip[stripSeconds - 1].total > 100 ? busyPauseMilliseconds : 0) - performance.now()
  if (pause > 0) setTimeout(() => requestAnimationFrame(draw), pause)
  else requestAnimationFrame(draw)
}

function draw() {
  frame = 0
  lastDrawn = performance.now()
  const waiting = byID('waiting')
  const isHeld = held()
  waiting.hidden = !isHeld
  if (isHeld) {
    const why = hold.paused ? 'Paused' : hold.reading ? 'Held while you read' : 'Scrolled back'
    setText(waiting, `${why} · ${grouped(pending.length + overflowed)} waiting · go on`)
    return
  }
  if (!pending.length) return
  const fresh = pending.slice(-rowsMax).map(rowOf)
  if (overflowed && fresh.length >= rowsMax) {
    fresh[0] = rowOf({ kind: 'note', at: Date.now(), says: `${grouped(overflowed)} earlier events are not shown` })
  }
  pending = []
  overflowed = 0
  const spare = rows.childElementCount + fresh.length - rowsMax
  for (let i = 0; i < spare && rows.firstChild; i += 1) (newestFirst ? rows.lastChild : rows.firstChild).remove()
  if (newestFirst) rows.prepend(...fresh.reverse())
  else {
    rows.append(...fresh)
    rows.scrollTop = rows.scrollHeight
  }
  showEmpty()
}

/* Draws what is kept afresh, after the filter or the order has changed. */
function redraw() {
  pending = entries.filter(wanted).slice(-rowsMax)
  overflowed = 0
  rows.replaceChildren()
  goOn(hold.paused)
  if (hold.paused) { // still paused, but what is kept must be seen as the new filter shows it
    hold.paused = false
    draw()
    hold.paused = true
    draw()
  }
  showEmpty()
}

/* What came between the rows that are drawn already: once for all that come together. */
let redrawing = false
function redrawSoon() {
  if (redrawing) return
  redrawing = true
  queueMicrotask(() => {
    redrawing = false
    redraw()
  })
}

function goOn(paused = false) {
  Object.assign(hold, { paused, away: false, reading: false })
  byID('pause').setAttribute('aria-pressed', paused)
  byID('pause').lastElementChild.textContent = paused ? 'Resume' : 'Pause'
  byID('pause').querySelector('path').setAttribute('d', paused ? 'M5 3l8 5-8 5z' : 'M5 3v10M11 3v10')
  if (!paused) rows.scrollTop = newestFirst ? 0 : rows.scrollHeight
  schedule()
}

function rowOf(entry) {
  const row = make('details', entry.kind === 'event' ? 'row' : `row control ${entry.kind}`)
  const line = make('summary')
  line.tabIndex = -1
  line.append(make('time', '', entry.at === undefined ? '' : clock(entry.at)))
  if (entry.kind === 'event') {
    line.append(make('span', 'seq', entry.seq === '' ? '' : String(entry.seq)))
    const channel = make('span', `channel h${hueOf(entry.channel)}`, entry.channel ?? '')
    channel.title = entry.channel ?? ''
    line.append(channel, make('span', 'type', entry.type ?? '–'), summaryOf(entry.event))
  } else {
    line.append(make('span', 'name', entry.type ?? ''), make('span', 'says', entry.says))
  }
  row.append(line)
  row.entry = entry
  return row
}

const stamped = new Set(['seq', 'channel', 'time'])

function summaryOf(event) {
  const summary = make('span', 'members')
  const kind = typeof event.type === 'string' ? 'type' : 'kind'
  let count = 0
  for (const key in event) {
    if (stamped.has(key) || (key === kind && typeof event[key] === 'string')) continue
    if ((count += 1) > 12) break
    const unit = units.find(([ending]) => key.endsWith(ending) && holdsNumbers(event[key]))
    const values = unit ? [event[key]].flat().map(unit[1]).join(' ') : plain(event[key])
    const name = unit ? key.slice(0, -unit[0].length) : key
    summary.append(make('i', '', cut(name, 60)), `${cut(values, 120)} `)
  }
  return summary
}

const cut = (text, length) => text.length > length ? `${text.slice(0, length - 1)}…` : text

/* A name that ends in a unit gives it to the number: `rx_bytes_per_s` 2048 is read as rx=2.00 KiB/s. */
const units = [
  ['_bytes_per_s', value => `${inBytes(value)}/s`], ['_bytes', inBytes], ['_percent', value => `${plain(value)}%`],
  ['_per_s', value => `${plain(value)}/s`], ['_ms', value => `${plain(value)} ms`],
  ['_s', value => `${plain(value)} s`],
]

const holdsNumbers = value => [value].flat().every(each => typeof each === 'number')

function plain(value) {
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : String(+value.toPrecision(4))
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/* Indents JSON as it was received: numbers and escapes stay as they are, which parsing and printing would not do. */
function pretty(text) {
  const out = make('pre', 'json')
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[-+.\w]+|[{}[\],:]/g) ?? []
  const plain = tokens.length > 4000
  let depth = 0
  let run = ''
  const flush = () => run && out.append(run) || (run = '')
  tokens.forEach((token, i) => {
    const closes = token === '}' || token === ']'
    const hollow = closes && (tokens[i - 1] === '{' || tokens[i - 1] === '[')
    if (closes) depth -= 1
    if (closes && !hollow) run += `\n${'  '.repeat(depth)}`
    if (plain || /^[{}[\],:]$/.test(token)) run += token
    else {
      flush()
      run = ''
      out.append(make('span', tokens[i + 1] === ':' ? 'key' : token[0] === '"' ? 'string' : 'number', token))
    }
    if (token === ':') run += ' '
    const opens = token === '{' || token === '['
    if (opens) depth += 1
    if ((opens && tokens[i + 1] !== '}' && tokens[i + 1] !== ']') || token === ',') run += `\n${'  '.repeat(depth)}`
  })
  if (run) out.append(run)
  return out
}

function toggled({ target: row }) {
  if (!row.entry) return
  if (row.open && !row.querySelector('.json') && row.entry.text) {
    const copy = make('button', 'copy', 'Copy')
    copy.type = 'button'
    copy.onclick = () => copyText(row.entry.text, copy)
    const body = make('div', 'body')
    body.append(pretty(row.entry.text), copy)
    row.append(body)
  }
  if (row.open) hold.reading = true
  else if (!rows.querySelector('details[open]')) hold.reading = false
  schedule()
}

function showEmpty() {
  const empty = byID('empty')
  empty.hidden = rows.querySelector('.row:not(.control)') !== null
  if (empty.hidden) return
  const { name } = stream?.state ?? {}
  const isFiltered = filter.text || filter.types.length || filter.channels.length
  setText(empty, name === 'ended' ? 'The stream has ended.'
    : name !== 'live' && everLive ? 'The server is away. The stream goes on as soon as it is back.'
      : name !== 'live' ? 'No answer from the server yet.'
        : isFiltered ? 'Nothing that matches the filter has come yet.'
          : 'Connected; nothing has been published since. Try the box “Publish”.')
}

/* Channels and types */

const channels = new Map() // name → {hue, seen, events, subscribers}
const types = new Map()

function nameOf(names, name) {
  if (name === undefined) return undefined
  let known = names.get(name)
  if (!known && names.size < namesMax) {
    known = { hue: names.size % (hueCount - 1), seen: 0, events: undefined, subscribers: undefined }
    names.set(name, known)
  }
  return known
}

const hueOf = channel => channels.get(channel)?.hue ?? hueCount - 1

function drawNames() {
  drawPicks(byID('channel-rows'), channels, filter.channels, byID('channel-count'))
  drawPicks(byID('type-rows'), types, filter.types, byID('type-count'))
}

function drawPicks(list, names, picked, count) {
  const isChannel = names === channels
  setText(count, names.size ? String(names.size) : '')
  const sorted = [...names.keys()].sort()
  if (list.childElementCount !== sorted.length) {
    list.replaceChildren(...sorted.map(name => {
      const button = make('button', isChannel ? `h${names.get(name).hue}` : '')
      button.type = 'button'
      button.dataset.name = name
      button.append(make('span', 'name', name), make('small'), make('b'))
      const item = make('li')
      item.append(button)
      return item
    }))
  }
  for (const item of list.children) {
    const button = item.firstChild
    const known = names.get(button.dataset.name)
    const [, readers, total] = button.children
    setText(total, grouped(known.events ?? known.seen))
    if (known.subscribers !== undefined) setText(readers, counted(known.subscribers, 'reader'))
    const isPicked = picked.includes(button.dataset.name)
    button.setAttribute('aria-pressed', isPicked)
    button.classList.toggle('out', isChannel ? !channelWanted(button.dataset.name) : picked.length > 0 && !isPicked)
    button.title = isChannel && known.events !== undefined
      ? `${grouped(known.events)} events, ${grouped(known.seen)} of them seen here` : `${grouped(known.seen)} seen here`
  }
}

/* The strip: two minutes of events per second */

const second = live => ({ total: 0, hues: new Uint32Array(hueCount), gap: false, live })
const strip = Array.from({ length: stripSeconds + 1 }, () => second(true)) // the last one is the present second
const secondsNow = () => Math.floor(performance.now() / 1000)
let stripEnd = secondsNow()

/* Moves on to the present second: the timer alone would not do, as a hidden page's timers hardly run. */
function present() {
  for (let i = Math.min(secondsNow() - stripEnd, stripSeconds); i > 0; i -= 1) {
    strip.push(second(stream?.state.name === 'live'))
    strip.shift()
  }
  stripEnd = secondsNow()
  return strip[stripSeconds]
}

function drawStrip() {
  const canvas = byID('strip')
  const { clientWidth: width, clientHeight: height } = canvas
  const ratio = devicePixelRatio || 1
  if (!width) return
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio)
    canvas.height = Math.round(height * ratio)
  }
  const [warn, away, ...hues] = [...canvas.children].map(swatch => getComputedStyle(swatch).color)
  const pen = canvas.getContext('2d')
  pen.setTransform(ratio, 0, 0, ratio, 0, 0)
  pen.clearRect(0, 0, width, height)
  const whole = strip.slice(0, -1)
  const peak = Math.max(...whole.map(each => each.total))
  const scale = (height - 8) / Math.max(8, peak)
  const step = width / stripSeconds
  whole.forEach((each, i) => {
    const x = i * step
    if (!each.live) {
      pen.fillStyle = away
      pen.fillRect(x, 0, step + 0.5, height)
    }
    let y = height
    each.hues.forEach((amount, hue) => {
      if (!amount) return
      const tall = Math.max(1, amount * scale)
      pen.fillStyle = hues[hue]
      pen.fillRect(x + 0.5, (y -= tall), Math.max(1, step - 1), tall)
    })
    if (each.gap) {
      pen.fillStyle = warn
      pen.fillRect(x + step / 2 - 1, 0, 2, height)
    }
  })
  setText(byID('peak'), `peak ${short(peak)} · 2 min`)
}

function tick() {
  present()
  setText(byID('rate'), short(strip[stripSeconds - 1].total))
  drawStrip()
  setText(byID('head'), grouped(head))
  setText(byID('received'), grouped(received))
  setText(byID('missed'), grouped(missed))
  byID('missed-fact').hidden = missed === 0
  drawNames()
  showEmpty()
}

/* What the server is doing */

function parseMetrics(text) {
  const metrics = []
  const lines = text.matchAll(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? +([-+.\deE]+|NaN|[-+]?Inf)/gm)
  for (const [, name, labels = '', value] of lines) {
    const pairs = labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)
    const unescaped = [...pairs].map(([, key, text]) => [key, text.replace(/\\(.)/g, '$1')])
    metrics.push({ name, labels: Object.fromEntries(unescaped), value: Number(value) })
  }
  return metrics
}

const perTransport = parts =>
  parts.filter(each => each.value).map(each => `${each.value} ${each.labels.transport}`).join(', ')
const asRate = (sum, rate) => [`${short(rate)}/s`, grouped(sum)]
const ifAny = sum => sum && [grouped(sum), '']
const facts = [ // label, metric, how its sum and its rate are told; a metric that is not there is left out
  ['connections', 'fanout_connections', (sum, _, parts) => [grouped(sum), perTransport(parts)]],
  ['events in', 'fanout_events_in_total', asRate],
  ['deliveries', 'fanout_deliveries_total', asRate],
  ['bytes out', 'fanout_bytes_sent_total', (sum, rate) => [`${inBytes(rate)}/s`, inBytes(sum)]],
  ['sends', 'fanout_sends_total', asRate],
  ['in segments', 'fanout_pinned_bytes', sum => [inBytes(sum), '']],
  ['past held', 'fanout_history_bytes', sum => sum && [inBytes(sum), '']],
  ['refused', 'fanout_events_refused_total', ifAny],
  ['laggards', 'fanout_laggards_total', ifAny],
  ['gaps', 'fanout_gaps_total', ifAny],
]
let before = null // {at, sums}: the poll before, for rates

function showMetrics(text) {
  const metrics = parseMetrics(text)
  const at = performance.now()
  const sums = {}
  const labels = {}
  for (const each of metrics) if (/_(info|backend)$/.test(each.name)) Object.assign(labels, each.labels)
  const uptime = metrics.find(each => each.name === 'fanout_uptime_seconds')
  const shown = []
  if (labels.backend) shown.push(['backend', labels.backend, labels.version ?? ''])
  if (uptime) shown.push(['uptime', inTime(uptime.value), ''])
  for (const [label, name, tell] of facts) {
    const parts = metrics.filter(each => each.name === name)
    if (!parts.length) continue
    sums[name] = parts.reduce((total, each) => total + each.value, 0)
    const growth = sums[name] - (before?.sums[name] ?? sums[name])
    const rate = before ? Math.max(0, growth / ((at - before.at) / 1000)) : 0
    const told = tell(sums[name], rate, parts)
    if (told) shown.push([label, ...told])
  }
  before = { at, sums }
  byID('server').replaceChildren(...shown.map(([label, value, more]) => {
    const line = make('div')
    line.append(make('dt', '', label), make('dd', '', value))
    if (more) line.append(make('dd', 'more', more))
    line.title = `${value} ${more}`
    return line
  }))
  if (byID('metrics').open) setText(byID('metrics').lastElementChild, text.replace(/^#.*\n/gm, ''))
}

/* Who has not taken what was published: nobody, as a rule. */
function showBehind(subscribers) {
  const behind = subscribers.filter(each => each.events > 0)
  byID('behind').hidden = behind.length === 0
  byID('behind').lastElementChild.replaceChildren(...behind.map(each => {
    const line = make('li')
    const more = [
      each.transport, each.channel, inBytes(each.bytes), inTime(each.ms / 1000), each.state !== 'behind' && each.state,
    ].filter(Boolean).join(' · ')
    line.append(make('span', '', each.peer), make('b', '', counted(each.events, 'event')), make('small', '', more))
    line.title = `${each.peer} · ${more}`
    return line
  }))
}

async function poll() {
  if (!document.hidden) {
    const asText = async path => {
      const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(5000) })
      return response.ok ? response.text() : Promise.reject(new Error(`${path} answered ${response.status}`))
    }
    const asObject = path => asText(path).then(JSON.parse)
    const [metrics, list, lag] = await Promise.allSettled(
      [asText('/metrics'), asObject('/v1/channels'), asObject('/v1/lag?top=5')])
    byID('server').classList.toggle('stale', metrics.status === 'rejected')
    if (metrics.status === 'fulfilled') showMetrics(metrics.value)
    showBehind(lag.status === 'fulfilled' && Array.isArray(lag.value.subscribers) ? lag.value.subscribers : [])
    for (const each of (list.status === 'fulfilled' && Array.isArray(list.value.channels)) ? list.value.channels : []) {
      const known = nameOf(channels, String(each.channel))
      if (known) Object.assign(known, { events: each.events, subscribers: each.subscribers })
    }
    drawNames()
  }
  setTimeout(poll, pollMilliseconds)
}

/* Publish and copy */

async function publishForm(submitted) {
  submitted.preventDefault()
  const ack = byID('ack')
  const channel = byID('publish-channel').value.trim()
  try {
    const answer = await publish(byID('publish-event').value, { channel })
    ack.className = ''
    ack.textContent = `seq ${answer.seq} · ${answer.level} · ${counted(answer.subscribers, 'reader')}`
    ack.title = JSON.stringify(answer)
  } catch (error) {
    ack.className = 'fault'
    ack.textContent = error.code ? `${error.code}: ${error.message}` : 'no answer from the server'
  }
}

const quoted = text => `'${text.replaceAll("'", String.raw`'\''`)}'`

/* How to get the present selection without this page. */
function drawCommands() {
  const { channels, types } = filter
  const part = text => encodeURIComponent(text).replaceAll('%2F', '/')
  const query = channels.map(each => `channel=${part(each)}`)
  if (types.length) query.push(`types=${types.map(part).join(',')}`)
  const path = `${location.host}/v1/events${query.length ? `?${query.join('&')}` : ''}`
  const address = quoted(`${location.protocol}//${path}`)
  const members = { ...(channels.length && { channel: channels }), ...(types.length && { types }) }
  const subscribe = query.length ? `echo ${quoted(JSON.stringify({ $subscribe: members }))} | ` : ''
  const flags = channels.map(each => ` --channel ${quoted(each)}`)
  if (types.length) flags.push(` --types ${quoted(types.join(','))}`)
  const commands = [
    ['lines', `curl -N ${address}`],
    ['server-sent events', `curl -N -H 'Accept: text/event-stream' ${address}`],
    ['websocket', `${location.protocol === 'https:' ? 'wss' : 'ws'}://${path}`],
    ['unix socket', `${subscribe}nc -U "${'${XDG_RUNTIME_DIR:-/run}'}/fanout/events.socket"`],
    ['client', `fanout tail --url ${location.origin}${flags.join('')}`],
  ]
  byID('commands').replaceChildren(...commands.map(([label, command]) => {
    const copy = make('button', 'copy', 'Copy')
    copy.type = 'button'
    copy.setAttribute('aria-label', `Copy: ${label}`)
    copy.onclick = () => copyText(command, copy)
    const code = make('code', '', command)
    code.tabIndex = 0
    const item = make('li')
    item.append(make('span', '', label), code, copy)
    return item
  }))
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text)
    button.textContent = 'Copied'
  } catch {
    button.textContent = 'Not allowed'
  }
  setTimeout(() => (button.textContent = 'Copy'), 1500)
}

/* Controls */

function stored(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key)
    localStorage.setItem(key, value)
  } catch { /* storage is off: the choice lasts as long as the page */ }
  return null
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme
  const name = { light: 'light', dark: 'dark' }[theme] ?? 'as the system'
  byID('theme').setAttribute('aria-label', `Colours: ${name}`)
  byID('theme').title = `Colours: ${name}`
  drawStrip()
}

function setOrder(newest) {
  newestFirst = newest
  byID('order').lastElementChild.textContent = newest ? 'Newest first' : 'Newest last'
  byID('order').setAttribute('aria-label', newest ? 'Order: newest on top' : 'Order: newest at the bottom, followed')
  byID('order').querySelector('path').setAttribute('d', newest ? 'M8 13V3M4 7l4-4 4 4' : 'M8 3v10M4 9l4 4 4-4')
  stored('fanout.order', newest ? 'first' : 'last')
}

function moveFocus(event) {
  const down = { ArrowDown: true, ArrowUp: false }[event.key]
  if (down === undefined || event.target.closest('.body')) return
  const row = event.target.closest('.row')
  const next = row ? (down ? row.nextElementSibling : row.previousElementSibling) : rows.firstElementChild
  if (!next) return
  event.preventDefault()
  next.firstElementChild.focus()
  hold.reading = true
  schedule()
}

function pressed(event) {
  if (event.key === 'Escape') {
    if (held() && !hold.paused) goOn()
    document.activeElement.blur()
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea')) return
  if (event.key === '/') {
    event.preventDefault()
    byID('text').focus()
  } else if (event.key === 'p') goOn(!hold.paused)
}

function start() {
  const hues = Array.from({ length: hueCount }, (_, i) => make('i', `h${i}`))
  byID('strip').append(make('i', 'warn'), make('i', 'away'), ...hues) // their colours are what the canvas draws with

  const place = new URLSearchParams(location.hash.slice(1))
  for (const name of ['channels', 'types', 'text']) byID(name).value = place.get(name) ?? ''
  setTheme(stored('fanout.theme') ?? 'auto')
  setOrder(stored('fanout.order') !== 'last')

  let typing = 0
  byID('filter').addEventListener('input', () => {
    clearTimeout(typing)
    typing = setTimeout(readFilter, 350)
  })
  byID('filter').addEventListener('submit', event => (event.preventDefault(), readFilter()))
  byID('channel-rows').addEventListener('click', ({ target }) => pick(target, byID('channels')))
  byID('type-rows').addEventListener('click', ({ target }) => pick(target, byID('types')))
  const pick = (target, input) => {
    const name = target.closest('button')?.dataset.name
    if (name !== undefined) toggleWord(input, name)
  }
  byID('pause').onclick = () => goOn(!hold.paused)
  byID('waiting').onclick = () => goOn()
  byID('order').onclick = () => (setOrder(!newestFirst), redraw())
  byID('clear').onclick = () => {
    entries.length = entryCharacters = 0
    redraw()
  }
  byID('retry').onclick = () => stream.retryNow()
  byID('theme').onclick = () => {
    const next = { auto: 'light', light: 'dark' }[document.documentElement.dataset.theme] ?? 'auto'
    stored('fanout.theme', next)
    setTheme(next)
  }
  byID('publish').addEventListener('submit', publishForm)
  rows.addEventListener('toggle', toggled, true)
  rows.addEventListener('keydown', moveFocus)
  rows.addEventListener('scroll', () => {
    const distance = newestFirst ? rows.scrollTop : rows.scrollHeight - rows.clientHeight - rows.scrollTop
    const away = distance > 24
    if (away === hold.away) return
    hold.away = away
    schedule()
  }, { passive: true })
  document.addEventListener('keydown', pressed)
  for (const tab of document.querySelectorAll('.tabs button')) {
    tab.onclick = () => {
      document.body.dataset.view = tab.dataset.view
      for (const other of document.querySelectorAll('.tabs button')) other.setAttribute('aria-pressed', other === tab)
    }
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawStrip)
  addEventListener('resize', drawStrip)

  readFilter()
  if (!stream) subscribe()
  drawCommands()
  drawStrip()
  setInterval(tick, 1000)
  setInterval(countDown, 250)
  poll()
}

start()
