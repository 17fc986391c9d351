// One subscriber's bounded queue of events, between the publisher's thread and the subscriber's.

/// The bytes of one event in one form, shared by all queues that hold it and never changed.
final class EventBytes: Sendable {
    // Written before any other thread sees the object, read by all.
    nonisolated(unsafe) let bytes: UnsafeMutableBufferPointer<UInt8>

    init(count: Int, _ fill: (UnsafeMutablePointer<UInt8>) -> Void) {
        bytes = .allocate(capacity: count)
        if let base = bytes.baseAddress { fill(base) }
    }

    deinit { bytes.deallocate() }
}

/// A ring of places under a lock.
final class EventQueue: @unchecked Sendable {
    // Unchecked: `monitor` guards the rest.
    static let capacity = 64

    private let monitor = Monitor()
    private let places: UnsafeMutablePointer<EventBytes?>
    private var first = 0
    private var count = 0
    private var isWaiting = false
    private var isClosed = false

    init() {
        places = .allocate(capacity: Self.capacity)
        places.initialize(repeating: nil, count: Self.capacity)
    }

    deinit {
        places.deinitialize(count: Self.capacity)
        places.deallocate()
    }

    /// Adds an event; false if there is no place for it.
    func push(_ event: EventBytes) -> Bool {
        var wakes = false
        let hasRoom = monitor.locked {
            if count == Self.capacity { return false }
            places[(first + count) % Self.capacity] = event
            count += 1
            wakes = isWaiting
            isWaiting = false
            return true
        }
        // Outside of the lock, which the woken thread takes at once.
        if wakes { monitor.signal() }
        return hasRoom
    }

    /// Waits for events and takes up to `most` of them, in order; none after `close`.
    func take(_ most: Int, into taken: inout [EventBytes]) {
        taken.removeAll(keepingCapacity: true)
        monitor.locked {
            while count == 0, !isClosed {
                isWaiting = true
                monitor.wait()
            }
            if isClosed { return }
            for _ in 0..<min(most, count) {
                if let event = places[first] { taken.append(event) }
                places[first] = nil
                first = (first + 1) % Self.capacity
                count -= 1
            }
        }
    }

    /// Ends the stream: what is queued is thrown away.
    func close() {
        monitor.locked {
            isClosed = true
            monitor.signal()
        }
    }
}
