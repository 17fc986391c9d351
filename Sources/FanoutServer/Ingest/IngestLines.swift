/// Events that come in as lines: ingest sockets and standard input.

import EventStore
import Reactor
import Wire

extension Engine {
    /// An event's bytes and what an envelope puts around them.
    static let lineBytesMax = EventRules().eventBytesMax + 4096

    /// Publishes the lines that are whole, as far as the turn's share goes. Returns how many bytes were used.
    ///
    /// Events without an envelope or an ack are published together, so that their readers are gone over once.
    func consumeLines(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.endsWhenSent) { return bytes.count }
        let channel = connection.pointee.group
        defer { publishLines(on: channel) }
        var stagedMost = Int.max
        let span = bytes.span
        var start = 0
        var searched = connection.pointee.input == Connection.none ? 0 : inputs[connection.pointee.input].searched
        while start < bytes.count, isReady(slot), !connection.pointee.flags.contains(.endsWhenSent) {
            if connection.pointee.flags.contains(.skipsLine) {
                guard let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) else { return bytes.count }
                connection.pointee.flags.remove(.skipsLine)
                start = end + 1
                searched = 0
                continue
            }
            switch LineFramer.next(span, from: start, searched: &searched, lineBytesMax: Self.lineBytesMax) {
            case .line(let range, let next):
                takeLine(slot, span.extracting(range.range))
                turnInputBytes += next - start
                start = next
                // The last line is published anyway.
                if hub.stagedCount == 1, start < bytes.count { stagedMost = self.stagedMost(on: channel) }
                if hub.stagedCount >= stagedMost || hub.isStagingFull { publishLines(on: channel) }
            case .incomplete:
                inputs[inputBuffer(of: slot)].searched = searched
                return start
            case .tooLong:
                refuseLine(slot, PublishFault(EventFault(.tooLarge, at: Self.lineBytesMax), line: nil))
                connection.pointee.flags.insert(.skipsLine)
                // The next line is searched from its start.
                searched = 0
                if connection.pointee.input != Connection.none { inputs[connection.pointee.input].searched = 0 }
            }
        }
        if connection.pointee.input != Connection.none { inputs[connection.pointee.input].searched = 0 }
        return start
    }

    /// The writer has closed: what it left without a newline counts, and the connection ends.
    func finishLines(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.input != Connection.none, inputs[connection.pointee.input].count > 0 {
            takeLine(slot, inputs[connection.pointee.input].waiting.span)
            publishLines(on: connection.pointee.group)
        }
        let wasStandardInput = connection.pointee.flags.contains(.standardInput)
        endWhenSent(slot)
        if wasStandardInput, configuration.exitOnEndOfInput { end(.inputEnded) }
    }

    /// Publishes the lines that wait for it, which are all for the connection's own channel.
    private func publishLines(on channel: UInt32) {
        if hub.stagedCount > 0 { _ = hub.publishStaged(on: channel) }
    }

    private func takeLine(_ slot: UInt32, _ line: Span<UInt8>) {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.plainText) { return takeText(slot, line) }
        if LineFramer.isBlank(line) { return }
        if !connection.pointee.flags.contains(.firstSeen) {
            connection.pointee.flags.insert(.firstSeen)
            if Envelope.asksForAcks(line) {
                connection.pointee.flags.insert(.acks)
                return
            }
        }
        do throws(PublishFault) {
            if Envelope.mayBe(line), let envelope = Envelope(line) {
                publishLines(on: connection.pointee.group)
                try take(envelope, of: line, slot)
            } else {
                try stage(line, on: connection.pointee.group)
                guard connection.pointee.flags.contains(.acks) else {
                    // What follows is refused, line by line.
                    if hub.staging.endsChannel { publishLines(on: connection.pointee.group) }
                    return
                }
                let level = try level(nil)
                let stored: StoreLevel = level == .synced ? .synced : .committed
                answerPublished(slot, hub.publishStaged(on: connection.pointee.group, level: stored), level)
            }
        } catch {
            refuseLine(slot, error)
        }
    }

    private func take(_ envelope: Envelope, of line: Span<UInt8>, _ slot: UInt32) throws(PublishFault) {
        var options = try self.options(envelope, slot)
        defer { hub.discardStaged() }
        try hub.stage(line.extracting(envelope.event.range), rules: eventRules(of: options.destination))
        let isAnswered = delivery.connections[slot].flags.contains(.acks)
        if !isAnswered { options.level = options.level ?? .accepted }
        let receipt = try publishStaged(options)
        if isAnswered { answerPublished(slot, receipt, try level(options.level)) }
    }

    /// What an envelope asks for, in the words of the HTTP request.
    private func options(_ envelope: Envelope, _ slot: UInt32) throws(PublishFault) -> PublishOptions {
        let connection = delivery.connections.records + Int(slot)
        var options = PublishOptions(destination: .channel(connection.pointee.group), level: nil)
        if let fault = envelope.fault { throw fault }
        options.conditions = envelope.conditions
        if let text = envelope.ack { options.level = try PublishFault.level(text) }
        guard let text = envelope.channel else { return options }
        guard let name = ChannelName(text) else { throw .badChannel }
        if connection.pointee.flags.contains(.channelFixed) {
            guard hub.channels[connection.pointee.group].name == name else { throw .channelFixed }
            return options
        }
        options.destination = .name(name)
        return options
    }

    /// A bad line is counted, answered if acks are on, and costs nothing but itself. An oversized one ends the
    /// connection, except on standard input: there it is one line of a producer that cannot come back.
    private func refuseLine(_ slot: UInt32, _ fault: PublishFault) {
        metrics.refusedEvents &+= 1
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.standardInput) {
            log.warning("standard input: \(fault.code): \(fault.message)")
            return
        }
        let isOversized = fault.code == EventFault.Code.tooLarge.rawValue
        guard connection.pointee.flags.contains(.acks) else {
            if fault.status == 503 { log.warning("an event of an ingest socket was lost: \(fault.code)") }
            if isOversized { endWhenSent(slot) }
            return
        }
        scratch.removeAll(keepingCapacity: true)
        fault.append(to: &scratch)
        sayInOrder(slot)
        if isOversized { endWhenSent(slot) }
    }

    /// A plain line becomes `{"type":"line","text":…}`; what is not UTF-8 in it becomes U+FFFD.
    private func takeText(_ slot: UInt32, _ line: Span<UInt8>) {
        var text = line
        if !text.isEmpty, text[text.count - 1] == UInt8(ascii: "\r") { text = text.extracting(droppingLast: 1) }
        if text.isEmpty { return }
        scratch.removeAll(keepingCapacity: true)
        scratch.append(text: "{\"type\":\"line\",\"text\":\"")
        if UTF8Check.isValid(text) {
            JSONText.appendEscaped(text, to: &scratch)
        } else {
            let repaired = UTF8Check.repair(text)
            JSONText.appendEscaped(repaired.span, to: &scratch)
        }
        scratch.append(text: "\"}")
        do throws(PublishFault) {
            let event = scratch
            try stage(event.span, on: delivery.connections[slot].group)
        } catch {
            refuseLine(slot, error)
        }
    }

    // MARK: Standard input

    /// Reads events, or plain lines, from a descriptor: a producer piped into the server.
    func readStandardInput(_ descriptor: Int32, asText: Bool) throws(SystemError) {
        let socket = try loop.adopt(descriptor: descriptor)
        guard let channel = hub.channel(.standard) else { preconditionFailure("the first channel always fits") }
        delivery.connections.open(socket, phase: .ingest, transport: .ingest)
        delivery.connections[socket.slot].group = channel
        delivery.connections[socket.slot].flags.formUnion([.channelFixed, .firstSeen, .standardInput])
        if asText { delivery.connections[socket.slot].flags.insert(.plainText) }
        standardInput = socket.slot
        loop.receive(socket)
    }
}
