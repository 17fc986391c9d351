// Two ways to keep a model equal to the channel: the snapshot in the stream, and the snapshot fetched beside it.

const channel = 'dashboard'
// After these the server brings a reader up to date itself. After others what follows does not fit what is known.
const needsAnew = why => why !== 'lagged' && why !== 'conflated'

/** `$snapshot`, the rows, `$live`, then what changes: one stream, in order. */
export function followInStream(EventStream, base, model, { onChange, onState, onNote }) {
  let isLive = false
  const stream = new EventStream({
    base,
    channels: [channel],
    from: 'snapshot',
    onEvent: event => {
      model.apply(event)
      if (isLive) onChange(event)
    },
    onControl: (name, record) => {
      if (name === '$snapshot') {
        isLive = false
        model.forget()
        onNote(`snapshot as of ${record.seq}: ${record.count} rows`)
      } else if (name === '$live') {
        isLive = true
        model.seq = Math.max(model.seq, record.seq)
        onChange()
      } else if (name === '$gap') {
        onNote(`${record.dropped ?? 'some'} events missed (${record.why})`)
        if (!needsAnew(record.why)) return
        // Nothing of the old model can be trusted: begin with a stream that knows no place.
        stream.close()
        onNote('beginning anew')
        model.seq = 0
        queueMicrotask(() => followInStream(EventStream, base, model, { onChange, onState, onNote }))
      }
    },
    onState,
  })
  return stream
}

/** Listens first, keeps what comes, asks for the snapshot, and drops what that has already: `seq <= snapshot.seq`. */
export function followBeside(EventStream, base, model, { onChange, onState, onNote }) {
  let kept = []
  let asked = 0

  const paint = async () => {
    const own = ++asked
    kept = kept ?? []
    const response = await fetch(`${base}/v1/snapshot?channel=${channel}`, { cache: 'no-store' })
    // Nothing was ever said on the channel: that is a state, too.
    const snapshot = response.status === 404 ? { seq: 0, events: [] } : await response.json()
    if (own !== asked) return
    model.forget()
    model.seq = 0
    for (const row of snapshot.events) model.apply(row)
    model.seq = snapshot.seq
    const late = kept.filter(event => event.seq > snapshot.seq)
    onNote(`snapshot as of ${snapshot.seq}: ${snapshot.events.length} rows; of ${kept.length} kept events ` +
      `${kept.length - late.length} were in it`)
    kept = null
    for (const event of late) model.apply(event)
    onChange()
  }

  return new EventStream({
    base,
    channels: [channel],
    onLag: 'gap',
    onEvent: event => {
      if (kept) {
        kept.push(event)
      } else if (event.seq > model.seq) {
        model.apply(event)
        onChange(event)
      }
    },
    onControl: (name, record) => {
      if (name === '$gap') onNote(`${record.dropped ?? 'some'} events missed (${record.why})`)
      // The subscription stands from `$hello` on; behind a gap the model is no longer the channel's.
      if ((name === '$hello' && kept) || (name === '$gap' && record.why !== 'conflated')) {
        kept = kept ?? []
        paint().catch(error => onNote(`no snapshot: ${error.message}`))
      }
    },
    onState,
  })
}
