/*
 * fanout.js: read a fanout server's events, and publish to it, from any web page. No dependencies.
 *
 *     import { EventStream, publish } from 'http://127.0.0.1:7575/fanout.js'
 *
 *     const stream = new EventStream({
 *       channels: ['host/*'],                            // patterns; none means every channel
 *       types: ['cpu.sample'],                           // none means every type
 *       onEvent: event => console.log(event.seq, event.channel, event),
 *       onControl: (name, record) => console.log(name, record),
 *       onState: state => console.log(state.name),
 *     })
 *     stream.close()
 *
 *     const ack = await publish({ type: 'deploy.started', app: 'web' }, { channel: 'deploys' })
 *
 * Nothing is lost silently: after a break the stream goes on where it stopped, and whatever the server no longer has
 * arrives as a `$gap` record that says what is missing.
 */

const controlNames = ['$hello', '$gap', '$snapshot', '$live', '$bye']
const backoffMillisecondsMin = 500
const backoffMillisecondsMax = 30_000
const steadyMilliseconds = 10_000 // a connection that lasted this long starts the count of failures afresh

/**
 * One subscription, kept alive until it is closed or the server says that coming back is no use.
 *
 * Options, all of them optional:
 *   base       the server, such as 'http://127.0.0.1:7575'; by default the one this file came from
 *   url        the path of the stream on it, by default '/v1/events'
 *   channels   array of channel names and patterns ('host/*', 'jobs/**'); none means every channel
 *   types      array of event types; none means every type
 *   from       'now' (the default), 'start', 'snapshot' or a cursor: where the first connection begins
 *   past       how many events of the past come first: the newest that /v1/history has, at most 10,000. What happens
 *              from then on follows without a hole or a repetition. It takes the place of `from`
 *   onLag      'close', 'gap', 'conflate' or 'resnapshot': what the server does if this reader falls behind
 *   onEvent(event, {id, text, past})     each event: the parsed object; its cursor, '' where `past` is true; its JSON
 *                                        as received; whether it is one that the option `past` asked for
 *   onControl(name, record, {id, text})  '$hello', '$gap', '$snapshot', '$live' and '$bye'
 *   onState(state)                       each change of the connection, also readable as `stream.state`:
 *     {name: 'connecting'}               the first connection is being made
 *     {name: 'live'}                     events arrive as they happen
 *     {name: 'reconnecting', at, reason} the next try is at `at` (milliseconds as Date.now() counts them), or as soon
 *                                        as the browser sees fit where `at` is undefined
 *     {name: 'ended', reason}            no further try: closed here, ended by the server, or refused
 *
 * A callback that throws is reported on the console and harms nothing else. A half-open connection (a laptop that
 * slept) is noticed when the browser notices: keep-alive comments cannot be seen from here. Browsers keep at most six
 * HTTP/1.1 connections to one server, over all tabs: one stream with several channels does better than several streams.
 */
export class EventStream {
  #options
  #source = null
  #timer = 0
  #failures = 0
  #liveSince = Infinity

  /** The cursor of the last record received, or '' before the first: what a later stream may be given as `from`. */
  lastEventID = ''
  /** The present state, as `onState` was given it. */
  state = { name: 'connecting' }
  /** The last `$hello`, or null before the first. */
  hello = null

  constructor(options = {}) {
    this.#options = { url: '/v1/events', base: ownBase(), channels: [], types: [], ...options }
    this.#open()
  }

  /** The address of this subscription, without a place to begin: what to give to curl. */
  get address() {
    const { url, onLag } = this.#options
    const address = this.#selection(url)
    if (onLag) address.searchParams.set('on_lag', onLag)
    return address
  }

  #selection(path) {
    const { base, channels, types } = this.#options
    const address = new URL(path, base)
    for (const channel of channels) address.searchParams.append('channel', channel)
    if (types.length) address.searchParams.set('types', types.join(','))
    return address
  }

  /** Ends the subscription. No callback runs afterwards, except for `onState` with 'ended'. */
  close() {
    this.#end('closed here')
  }

  /** Tries at once instead of waiting out the pause before the next try. */
  retryNow() {
    if (this.state.name === 'reconnecting') this.#open()
  }

  #open() {
    this.#drop()
    if (this.state.name === 'reconnecting') this.#enter({ name: 'reconnecting', reason: this.state.reason })
    if (this.#options.past && !this.lastEventID) this.#begin()
    else this.#connect()
  }

  // The past comes from one answer, which names the head that it was made at: the stream begins there.
  async #begin() {
    const abort = new AbortController()
    const attempt = (this.#source = { close: () => abort.abort() })
    let lines = []
    try {
      const address = this.#selection('/v1/history')
      address.searchParams.set('limit', this.#options.past)
      const headers = { Accept: 'application/x-ndjson' }
      const response = await fetch(address, { headers, signal: abort.signal, cache: 'no-store' })
      const head = response.ok && response.headers.get('Fanout-Head')
      const text = head ? await response.text() : ''
      if (attempt !== this.#source) return
      this.lastEventID = head || ''
      lines = text.split('\n').filter(Boolean)
    } catch { /* no answer: the stream finds out why, and asks again before its next try */ }
    for (const text of lines) {
      const event = parsed(text)
      if (attempt === this.#source && event) this.#call('onEvent', event, { id: '', text, past: true })
    }
    if (attempt === this.#source) this.#connect()
  }

  #connect() {
    const address = this.address
    // The header that EventSource sends on its own reconnections wins over both of these.
    if (this.lastEventID) address.searchParams.set('last_event_id', this.lastEventID)
    else if (this.#options.from) address.searchParams.set('from', this.#options.from)

    const source = (this.#source = new EventSource(address))
    // A source that has been replaced may still have events queued: they are not ours any more.
    const own = handler => message => source === this.#source && handler(message)
    source.onopen = own(() => {
      this.#liveSince = Date.now()
      this.#enter({ name: 'live' })
    })
    source.onmessage = own(message => this.#event(message))
    source.onerror = own(() => this.#failed())
    for (const name of controlNames) source.addEventListener(name, own(message => this.#control(name, message)))
  }

  #event(message) {
    if (message.lastEventId) this.lastEventID = message.lastEventId
    const event = parsed(message.data)
    if (event) this.#call('onEvent', event, { id: message.lastEventId, text: message.data, past: false })
  }

  #control(name, message) {
    if (message.lastEventId) this.lastEventID = message.lastEventId
    const record = parsed(message.data)
    if (!record) return
    if (name === '$hello') this.hello = record
    const source = this.#source
    this.#call('onControl', name, record, { id: message.lastEventId, text: message.data })
    if (name !== '$bye' || source !== this.#source) return
    // The server names the time to come back, or none if coming back is no use.
    const reason = `${record.why} (${record.code})`
    if (typeof record.retry_ms === 'number') this.#retry(reason, record.retry_ms * (1 + Math.random() / 4))
    else this.#end(reason)
  }

  // The browser's own first try after a break is left alone: it is quick and sends Last-Event-ID. From the second
  // failure on, or when the browser has given up, tries are made here, each later than the last, and at times that
  // differ between readers, so that a restarted server is not met by all of them at once.
  #failed() {
    if (Date.now() - this.#liveSince > steadyMilliseconds) this.#failures = 0
    this.#liveSince = Infinity
    this.#failures += 1
    const source = this.#source
    if (source.readyState === EventSource.CONNECTING && this.#failures === 1 && this.state.name === 'live') {
      this.#enter({ name: 'reconnecting', reason: 'connection lost' })
    } else if (source.readyState === EventSource.CONNECTING) {
      this.#retry('no answer', this.#backoff())
    } else {
      this.#diagnose()
    }
  }

  // EventSource hides why it gave up; the same request made by fetch tells.
  async #diagnose() {
    const address = this.#source.url
    this.#drop()
    const abort = new AbortController()
    const attempt = (this.#source = { close: () => abort.abort() })
    let reason = 'no answer'
    let final = false
    try {
      const headers = { Accept: 'text/event-stream' }
      const response = await fetch(address, { headers, signal: abort.signal, cache: 'no-store' })
      const { status, ok } = response
      final = status === 204 || (status >= 400 && status < 500 && ![408, 425, 429].includes(status))
      reason = status === 204 ? 'the channel has ended' : ok ? 'connection lost' : await faultOf(response)
    } catch { /* no answer: try again */ }
    if (attempt !== this.#source) return
    abort.abort()
    if (final) this.#end(reason)
    else this.#retry(reason, this.#backoff())
  }

  #backoff() {
    const ceiling = Math.min(backoffMillisecondsMax, backoffMillisecondsMin * 2 ** Math.min(this.#failures, 10))
    return ceiling * (0.5 + Math.random() / 2)
  }

  #retry(reason, milliseconds) {
    this.#drop()
    this.#timer = setTimeout(() => this.#open(), milliseconds)
    this.#enter({ name: 'reconnecting', at: Date.now() + milliseconds, reason })
  }

  #end(reason) {
    this.#drop()
    if (this.state.name !== 'ended') this.#enter({ name: 'ended', reason })
  }

  #drop() {
    clearTimeout(this.#timer)
    this.#source?.close()
    this.#source = null
  }

  #enter(state) {
    this.state = state
    this.#call('onState', state)
  }

  #call(name, ...values) {
    try {
      this.#options[name]?.(...values)
    } catch (error) {
      console.error(error)
    }
  }
}

/**
 * Publishes one event and gives the server's ack: {cursor, seq, level, dup, subscribers, behind}.
 *
 *   channel   where to; by default the server's default channel
 *   ack       'none', 'accepted', 'committed' or 'synced'
 *   key       an Idempotency-Key: sending the same event again with the same key publishes it once
 *   base      the server; by default the one this file came from
 *
 * Throws a PublishError, with the server's `code` and `status`, if the event is refused, and a TypeError if there is
 * no answer, in which case the event may or may not have been published. `event` may also be JSON text, which is sent
 * as it is.
 */
export async function publish(event, { channel, ack, key, base = ownBase() } = {}) {
  const address = new URL('/v1/events', base)
  if (channel) address.searchParams.set('channel', channel)
  if (ack) address.searchParams.set('ack', ack)
  const headers = { 'Content-Type': 'application/json' }
  if (key) headers['Idempotency-Key'] = key
  const body = typeof event === 'string' ? event : JSON.stringify(event)
  const response = await fetch(address, { method: 'POST', headers, body })
  if (!response.ok) throw new PublishError(await faultOf(response, true))
  return response.json()
}

/** An event that the server refused: `message` says why in a sentence, `code` in a word, `status` in HTTP's terms. */
export class PublishError extends Error {
  constructor({ message, code, status }) {
    super(message)
    this.name = 'PublishError'
    this.code = code
    this.status = status
  }
}

async function faultOf(response, whole = false) {
  let fault = {}
  try {
    fault = (await response.json()).error ?? {}
  } catch { /* not this server's error format: the status has to do */ }
  const message = fault.message || `the server answered ${response.status} ${response.statusText}`
  return whole ? { message, code: fault.code ?? 'http', status: response.status } : message
}

function ownBase() {
  const origin = new URL(import.meta.url).origin
  return origin === 'null' ? location.origin : origin
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch (error) {
    console.error('fanout: a record that is not JSON', error)
    return null
  }
}
