/// Somebody who ends a channel and declares it anew while others publish to it and read it.

import Reactor

/// Asks for `/v1/channels` again and again, one request at a time, and knows what each answer must be.
final class ChannelKeeper: Client {
    private var responses = ResponseReader()
    /// The request under way: its method, and whether the channel had ended before it.
    private var asked: (method: String, channel: String)?
    private var hasEnded = false
    private var exists = false
    private var isSettled = false

    init(_ world: World, _ peer: SimulatedPeer) {
        super.init(world, peer, "channel keeper", pace: .eager)
    }

    override var isAwaitingAnswer: Bool { asked != nil || !isSettled }

    override func perform() {
        guard asked == nil, unsent.isEmpty, !hasFinished else { return }
        if isSettled { return finish() }
        guard random.chance(0.3) else { return }
        ask(random.chance(0.5) ? "PUT" : "DELETE", random.chance(0.1) ? "events" : Channels.mortalChannel)
    }

    private func ask(_ method: String, _ channel: String) {
        asked = (method, channel)
        unsent += Array("\(method) /v1/channels?channel=\(channel) HTTP/1.1\r\nHost: localhost:7575\r\n\r\n")
    }

    /// The last word is that the channel is there.
    override func settle() {
        isSettled = true
        if asked == nil, hasEnded { ask("PUT", Channels.mortalChannel) }
    }

    override func take(_ bytes: [UInt8]) throws {
        responses.append(bytes)
        while let response = try responses.next() { try answered(response) }
    }

    private func answered(_ response: Response) throws {
        if [408, 429, 503].contains(response.status) { return leave(reset: false) }
        guard let asked else { throw Malformed("an answer too many: \(response)") }
        self.asked = nil
        let json = try TinyJSON(Array(response.body.dropLast()))
        let isMortal = asked.channel == Channels.mortalChannel
        switch (asked.method, response.status) {
        case ("PUT", 200), ("PUT", 201):
            guard json["channel"]?.text == asked.channel, json["ended"] == nil,
                (response.status == 201) == hasEnded || !isMortal
            else { throw Malformed("\(response.status) \(json) for a declaration") }
            if isMortal { (exists, hasEnded) = (true, false) }
        case ("DELETE", 200) where isMortal:
            guard json["ended"] == .bool(true) else { throw Malformed("\(json) for an end") }
            (exists, hasEnded) = (true, true)
            world.sightings.channelsEnded += 1
        case ("DELETE", 404) where isMortal && !exists: break
        case ("DELETE", 409) where !isMortal: break
        default: throw Malformed("\(response.status) for \(asked)")
        }
        if isSettled, hasEnded { ask("PUT", Channels.mortalChannel) }
    }
}
