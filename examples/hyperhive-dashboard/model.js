// What the dashboard knows: rows by key, whole lists, the newest messages. Changed by events only.

const keyed = {
  container_state_changed: ['containers', event => event.container.name, event => event.container],
  approval_added: ['approvals', event => event.id, event => event],
  question_added: ['questions', event => event.id, event => event],
  transient_set: ['transients', event => event.name, event => event],
}
const removed = {
  container_removed: ['containers', event => event.name],
  approval_resolved: ['approvals', event => event.id],
  question_resolved: ['questions', event => event.id],
  transient_cleared: ['transients', event => event.name],
}
const whole = {
  tombstones_changed: ['tombstones', event => event.tombstones],
  meta_inputs_changed: ['inputs', event => event.inputs],
  rebuild_queue_changed: ['queue', event => event.queue],
  meta_update_running: ['updating', event => event.running],
}
const messagesMax = 200

export class Model {
  constructor() {
    this.forget()
    this.messages = []
    this.seq = 0
  }

  /** Everything that a snapshot is about to say anew. Messages are no state: they stay. */
  forget() {
    this.containers = new Map()
    this.approvals = new Map()
    this.questions = new Map()
    this.transients = new Map()
    this.tombstones = []
    this.inputs = []
    this.queue = []
    this.updating = false
  }

  /** Takes one event. A kind that it does not know is no fault: later versions will have more. */
  apply(event) {
    const { kind } = event
    if (Object.hasOwn(keyed, kind)) {
      const [table, key, row] = keyed[kind]
      this[table].set(key(event), row(event))
    } else if (Object.hasOwn(removed, kind)) {
      const [table, key] = removed[kind]
      this[table].delete(key(event))
    } else if (Object.hasOwn(whole, kind)) {
      const [name, value] = whole[kind]
      this[name] = value(event)
    } else if (kind === 'sent') {
      this.messages.unshift({ ...event, isDelivered: false })
      this.messages.length = Math.min(this.messages.length, messagesMax)
    } else if (kind === 'delivered') {
      const message = this.messages.find(message => message.id === event.id)
      if (message) message.isDelivered = true
    }
    this.seq = Math.max(this.seq, event.seq)
  }
}
