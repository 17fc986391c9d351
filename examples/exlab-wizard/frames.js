// The wizard's two kinds of WebSocket as a page reads them. Only what the browser has: no client of fanout's.

const pauseMillisecondsMin = 500
const pauseMillisecondsMax = 10_000

/**
 * Reads frames until the server says that no more will come (code 1000). After every other end it connects again; what
 * it gets then begins at the beginning, so `onOpen` is where to forget what was known.
 */
export function readFrames(url, { onOpen, onFrame, onState }) {
  let isClosed = false
  let socket = null
  let pause = pauseMillisecondsMin
  let timer = 0

  const connect = () => {
    onState('connecting')
    socket = new WebSocket(url)
    socket.onopen = () => {
      pause = pauseMillisecondsMin
      onOpen()
      onState('live')
    }
    socket.onmessage = message => onFrame(JSON.parse(message.data))
    socket.onclose = ({ code }) => {
      if (isClosed) return
      if (code === 1000) return onState('ended')
      onState('waiting')
      timer = setTimeout(connect, pause * (0.5 + Math.random() / 2))
      pause = Math.min(pauseMillisecondsMax, pause * 2)
    }
  }
  connect()
  return {
    /** Begins again: what came makes no sense. */
    again() {
      socket.close()
    },
    close() {
      isClosed = true
      clearTimeout(timer)
      socket.close()
    },
  }
}

/** What a page knows of a session. */
export class SessionModel {
  constructor() {
    this.phases = []
    this.progress = null
    this.question = null
    this.warnings = []
    this.end = null
  }

  apply(frame) {
    switch (frame.kind) {
      case 'phase':
        this.phases.push({ phase: frame.phase, at: frame.at })
        // Whatever was asked has been answered: the run goes on.
        this.question = null
        this.progress = null
        break
      case 'progress':
        this.progress = frame
        break
      case 'input_required':
        this.question = frame
        break
      case 'warning':
        this.warnings.push(frame)
        break
      case 'done':
      case 'failed':
        this.question = null
        this.end = frame
        break
      default:
        throw new Error(`a frame of an unknown kind: ${frame.kind}`)
    }
  }
}

/** What a page knows of the audit. */
export class ProblemsModel {
  constructor() {
    this.findings = null
    this.auditAt = null
    this.passes = 0
  }

  apply(frame) {
    switch (frame.kind) {
      case 'snapshot':
        this.findings = new Map(frame.findings.map(finding => [finding.id, finding]))
        break
      case 'delta':
        for (const finding of [...frame.added, ...frame.changed]) this.findings.set(finding.id, finding)
        for (const id of frame.removed) this.findings.delete(id)
        this.passes += 1
        break
      default:
        throw new Error(`a frame of an unknown kind: ${frame.kind}`)
    }
    this.auditAt = frame.audit_at
  }
}
