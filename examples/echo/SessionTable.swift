/// The sessions, found by their socket's slot: the reactor gives the lowest free slot, so a plain table is dense.
struct SessionTable: ~Copyable {
    private let sessions: UnsafeMutablePointer<Session>
    private var isOpen: [Bool]

    /// A table for slots below `capacity`.
    init(capacity: Int) {
        sessions = .allocate(capacity: capacity)
        isOpen = [Bool](repeating: false, count: capacity)
    }

    deinit {
        for slot in isOpen.indices where isOpen[slot] { (sessions + slot).deinitialize(count: 1) }
        sessions.deallocate()
    }

    mutating func open(_ slot: UInt32) {
        precondition(!isOpen[Int(slot)], "a slot is used again before it was given back")
        (sessions + Int(slot)).initialize(to: Session())
        isOpen[Int(slot)] = true
    }

    /// The session of a slot, nil where there is none (a listener's slot).
    func find(_ slot: UInt32) -> UnsafeMutablePointer<Session>? {
        isOpen[Int(slot)] ? sessions + Int(slot) : nil
    }

    mutating func close(_ slot: UInt32) {
        guard isOpen[Int(slot)] else { return }
        (sessions + Int(slot)).deinitialize(count: 1)
        isOpen[Int(slot)] = false
    }
}
