/// What readers receive: taken apart, checked, counted.

import CLinux
import ClientSockets
import Glibc
import Wire

extension LoadRun {
    /// A reader's socket has something to say.
    func ready(_ index: Int, _ events: UInt32) {
        switch readers[index].phase {
        case .connecting: connected(index)
        case .opening, .streaming:
            // A read that does not fill the buffer has emptied the socket (epoll(7)), unless its end came too.
            let hasEnded = events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0
            var taken = receive(index, Self.bufferBytes)
            while readers[index].isLive, taken == .full || (taken == .some && hasEnded) {
                taken = receive(index, Self.bufferBytes)
            }
        case .idle, .ended: break
        }
    }

    /// How much one read has given.
    enum Taken {
        case nothing, some, full
    }

    /// Takes what has come, at most `limit` bytes.
    @discardableResult
    func receive(_ index: Int, _ limit: Int) -> Taken {
        let reader = readers + index
        let kept = Int(reader.pointee.kept.count)
        if let bytes = reader.pointee.kept.bytes { memcpy(buffer, bytes, kept) }
        let room = min(limit, Self.bufferBytes - kept)
        let count = linux_receive(reader.pointee.descriptor, buffer + kept, room)
        if count <= 0 {
            if count == -Int64(EINTR) { return .full }
            if count != -Int64(EAGAIN) { closed(index, Int32(-count)) }
            return .nothing
        }
        take(index, kept, Int(count))
        return count == room ? .full : .some
    }

    /// Takes `count` bytes that have come behind the `kept` ones.
    private func take(_ index: Int, _ kept: Int, _ count: Int) {
        let reader = readers + index
        receivedAt = nanoseconds()
        deliveredBytes += count
        guard let bare = unframe(index, from: kept, to: kept + count) else { return }
        var total = bare
        var used = 0
        if reader.pointee.phase == .opening {
            guard let taken = open(index, &total) else { return }
            used = taken
        }
        if reader.pointee.phase == .streaming { used += digest(index, buffer + used, total - used) }
        guard reader.pointee.isLive else { return }
        if reader.pointee.opening.isOver { return closed(index, 0) }
        if kept > 0 || used < total { reader.pointee.kept.keep(buffer + used, total - used) }
        // More of something that is not whole yet; a keep-alive is no progress.
        if used < total, reader.pointee.isCounted { progressAt = receivedAt }
    }

    /// Takes a handshake's bytes; how many, nil where the reader has ended. A body in chunks is freed of them at once.
    private func open(_ index: Int, _ total: inout Int) -> Int? {
        let reader = readers + index
        let dialect = dialects[Int(reader.pointee.route)]
        let channel = plan.channels.isEmpty ? nil : plan.channels[Int(reader.pointee.channel)]
        var used = 0
        while true {
            let wasInFrames = reader.pointee.opening.isInFrames
            reply.removeAll(keepingCapacity: true)
            let bytes = UnsafeBufferPointer(start: buffer + used, count: total - used)
            let step = dialect.handshake(bytes.span, channel: channel, &reader.pointee.opening, say: &reply)
            if !reply.isEmpty { answer(index) }
            switch step {
            case .incomplete:
                if total - used < frameBytesMax { return used }
                drop(index, "no stream has begun after \(total - used) bytes")
                return nil
            case .step(let count):
                used += count
                progressAt = receivedAt
                if reader.pointee.opening.isInFrames, !wasInFrames {
                    beginFrames(index)
                    guard let bare = unwrap(index, from: used, to: total) else { return nil }
                    total = bare
                }
            case .done(let count):
                used += count
                stand(index)
                if reader.pointee.opening.isChunked {
                    beginChunks(index)
                    guard let unchunked = unchunk(index, from: used, to: total) else { return nil }
                    total = unchunked
                }
                return used
            case .refused(let why):
                drop(index, why)
                return nil
            }
        }
    }

    /// Takes whole frames; how many bytes they were.
    private func digest(_ index: Int, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
        let reader = readers + index
        let dialect = dialects[Int(reader.pointee.route)]
        var at = 0
        while at < count {
            if let slot = guess(index) {
                if book.matches(slot, bytes + at, count - at) {
                    let frame = book.frames[slot]
                    at += Int(frame.count)
                    accept(index, Int(frame.publisher), Int(frame.number))
                    reader.pointee.lastSlot = Int32(slot)
                    continue
                }
            }
            let rest = UnsafeBufferPointer(start: bytes + at, count: count - at).span
            switch dialect.find(rest) {
            case .incomplete: return at
            case .event(let frame, let payload):
                take(index, rest.extracting(0..<frame), payload)
                at += frame
            case .skip(let frame), .taken(let frame): at += frame
            case .reply(let frame):
                reply.removeAll(keepingCapacity: true)
                dialect.appendReply(to: rest.extracting(0..<frame), into: &reply)
                answer(index)
                at += frame
            case .gap(let frame):
                toldOfGap(index, rest.extracting(0..<frame))
                at += frame
            case .end(let frame):
                toldOfEnd(index, rest.extracting(0..<frame))
                at += frame
            case .fault(let why):
                drop(index, "\(why): \(rest.excerpt)")
                return at
            }
            guard reader.pointee.isLive else { return at }
        }
        return at
    }

    /// The slot of the frame that comes next for this reader, as far as one can tell.
    @inline(__always)
    private func guess(_ index: Int) -> Int? {
        guard isPublishing, readers[index].gapMask == 0 else { return nil }
        if publisherCount == 1 {
            let number = expected[index]
            guard number != Self.unknownNumber else { return nil }
            let slot = book.slot(route: Int(readers[index].route), publisher: 0, number: Int(number))
            return book.frames[slot].number == number ? slot : nil
        }
        let last = Int(readers[index].lastSlot)
        guard last >= 0 else { return nil }
        let slot = Int(book.frames[last].next)
        guard slot >= 0 else { return nil }
        let frame = book.frames[slot]
        return expected[index * publisherCount + Int(frame.publisher)] == frame.number ? slot : nil
    }

    /// Books an event whose bytes are right and whose turn it is.
    @inline(__always)
    private func accept(_ index: Int, _ publisher: Int, _ number: Int) {
        expected[index * publisherCount + publisher] = UInt32(number + channels)
        readers[index].received &+= 1
        deliveries += 1
        guard readers[index].isCounted else { return }
        outstanding -= 1
        progressAt = receivedAt
        if number >= firstMeasured {
            let since = publishedTime(publisher, number)
            latency.add(receivedAt > since ? receivedAt - since : 0)
        }
    }

    /// Takes an event that is not known by its bytes: reads it, checks its place in the order, and learns it.
    private func take(_ index: Int, _ frame: Span<UInt8>, _ payload: Range<Int>) {
        guard isPublishing else {
            readers[index].received &+= 1
            deliveries += 1
            // What one reader gets too much makes up for nothing that another lacks.
            guard readers[index].isCounted, readers[index].received <= UInt64(plan.events) else { return }
            outstanding -= 1
            progressAt = receivedAt
            return
        }
        guard let (publisher, number) = event.read(frame.extracting(payload)), number < publishedBy[publisher],
            number % channels == Int(readers[index].channel)
        else { return fault(index, "not an event that was published for it: \(frame.excerpt)") }
        let place = index * publisherCount + publisher
        let due = expected[place]
        if due != Self.unknownNumber, number != due {
            guard number > due else {
                return fault(index, "event \(number) of publisher \(publisher) again, or late: \(due) was due")
            }
            if readers[index].gapMask & 1 << UInt64(publisher) == 0 {
                fault(index, "a hole: event \(number) of publisher \(publisher) came when \(due) was due")
            }
            if readers[index].isCounted { outstanding -= (number - Int(due)) / channels }
        }
        readers[index].gapMask &= ~(1 << UInt64(publisher))
        let slot = book.learn(
            route: Int(readers[index].route), publisher: publisher, number: number, frame)
        let last = Int(readers[index].lastSlot)
        if last >= 0 { book.frames[last].next = Int32(slot) }
        readers[index].lastSlot = Int32(slot)
        accept(index, publisher, number)
    }

    /// Sends `reply` to the server; a few bytes, which a socket whose stream is read has room for.
    private func answer(_ index: Int) {
        if stage == .leaving { return }  // Our side is closed.
        let count = linux_send(readers[index].descriptor, reply, reply.count)
        if count != Int64(reply.count) { fault(index, "an answer could not be sent at once") }
    }

    // MARK: Framing around the stream

    /// Takes off what the stream is wrapped in, in place, from `start` to `end`; where it ends then. Nil where the
    /// reader has ended.
    private func unframe(_ index: Int, from start: Int, to end: Int) -> Int? {
        if readers[index].opening.isInFrames { return unwrap(index, from: start, to: end) }
        return readers[index].opening.isChunked ? unchunk(index, from: start, to: end) : end
    }

    private func beginFrames(_ index: Int) {
        if unwrappers == nil { unwrappers = .allocate(capacity: readerCount) }
        unwrappers?[index] = WebSocketUnwrapper()
    }

    private func unwrap(_ index: Int, from start: Int, to end: Int) -> Int? {
        guard let unwrapper = unwrappers.map({ $0 + index }) else { return end }
        let bytes = UnsafeMutableBufferPointer(start: buffer + start, count: end - start)
        reply.removeAll(keepingCapacity: true)
        let outcome = unwrapper.pointee.unwrap(bytes, answers: &reply)
        if !reply.isEmpty { answer(index) }
        switch outcome {
        case .payload(let count): return start + count
        case .closed(let count):
            toldOfEnd(index, UnsafeBufferPointer(bytes).span.extracting(first: count))
            readers[index].opening.isOver = true
            return start + count
        case .fault:
            drop(index, "broken WebSocket frames")
            return nil
        }
    }

    private func beginChunks(_ index: Int) {
        if chunks == nil { chunks = .allocate(capacity: readerCount) }
        chunks?[index] = ChunkedDecoder(bodyBytesMax: Int.max)
    }

    /// Takes the framing of chunks off the bytes from `start` to `end`, in place; where the body ends then. Nil where
    /// the reader has ended.
    private func unchunk(_ index: Int, from start: Int, to end: Int) -> Int? {
        guard let decoder = chunks.map({ $0 + index }) else { return end }
        let bytes = UnsafeBufferPointer(start: buffer + start, count: end - start)
        var consumed = 0
        var kept = start
        do throws(HTTPFault) {
            while true {
                switch try decoder.pointee.next(bytes.span, consumed: &consumed, limits: HTTPLimits()) {
                case .data(let piece):
                    memmove(buffer + kept, buffer + start + Int(piece.start), Int(piece.count))
                    kept += Int(piece.count)
                case .needsMore: return kept
                case .end:
                    readers[index].opening.isOver = true
                    return kept
                }
            }
        } catch {
            drop(index, "broken chunks: \(bytes.span.excerpt)")
            return nil
        }
    }
}
