/// Client bytes and what a server must make of them.

@testable import Wire

struct WebSocketVector: Sendable, CustomStringConvertible {
    var title: String
    var bytes: [UInt8]
    /// What is passed on before the end or the fault.
    var events: [WebSocketOutcome.Event]
    /// The close code of the fault, nil where there is none.
    var closeCode: UInt16?
    var limits = WebSocketLimits()
    var description: String { title }

    init(
        _ title: String, _ frames: [UInt8]..., events: [WebSocketOutcome.Event] = [], closeCode: UInt16? = nil,
        messageBytesMax: Int = 65_536, fragmentsMax: Int = 1024
    ) {
        self.title = title
        self.bytes = frames.flatMap { $0 }
        self.events = events
        self.closeCode = closeCode
        limits.messageBytesMax = messageBytesMax
        limits.fragmentsMax = fragmentsMax
    }

    static let all = messages + control + framing + limited + utf8 + closing

    private static func text(_ text: String) -> WebSocketOutcome.Event { .message(1, Array(text.utf8)) }
    private static let hello = Array("hello".utf8)
    private static func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) } }
}

extension WebSocketVector {
    static let messages: [WebSocketVector] = [
        .init("nothing"),
        .init(
            "the RFC's example", [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
            events: [text("Hello")]),
        .init("a text", ClientFrame.text("hello"), events: [text("hello")]),
        .init("an empty text", ClientFrame.text(""), events: [text("")]),
        .init("an empty binary message", ClientFrame.make(2), events: [.message(2, [])]),
        .init("two texts", ClientFrame.text("a"), ClientFrame.text("b"), events: [text("a"), text("b")]),
        .init("125 bytes", ClientFrame.make(2, bytes(125)), events: [.message(2, bytes(125))]),
        .init("126 bytes", ClientFrame.make(2, bytes(126)), events: [.message(2, bytes(126))]),
        .init("two fragments", ClientFrame.text("he", final: false), ClientFrame.more("llo"), events: [text("hello")]),
        .init(
            "three fragments", ClientFrame.text("h", final: false), ClientFrame.more("ell", final: false),
            ClientFrame.more("o"), events: [text("hello")]),
        .init(
            "empty fragments", ClientFrame.text("", final: false), ClientFrame.more("", final: false),
            ClientFrame.more(""), events: [text("")]),
        .init(
            "an empty first fragment", ClientFrame.text("", final: false), ClientFrame.more("a"), events: [text("a")]),
        .init("an empty last fragment", ClientFrame.text("a", final: false), ClientFrame.more(""), events: [text("a")]),
        .init(
            "binary fragments that are not UTF-8", ClientFrame.make(2, [0xFF], final: false),
            ClientFrame.make(0, [0xC0]), events: [.message(2, [0xFF, 0xC0])]),
        .init(
            "a binary message inside whose fragments nothing is checked as text",
            ClientFrame.make(2, [0xC3], final: false), ClientFrame.make(0, []), events: [.message(2, [0xC3])]),
        .init("half a message", ClientFrame.text("a", final: false)),
        .init(
            "a message behind a fragmented one", ClientFrame.text("a", final: false), ClientFrame.more("b"),
            ClientFrame.make(2, [1]), events: [text("ab"), .message(2, [1])]),
    ]

    static let control: [WebSocketVector] = [
        .init("a ping", ClientFrame.make(9, hello), events: [.ping(hello)]),
        .init("an empty ping", ClientFrame.make(9), events: [.ping([])]),
        .init("a ping of 125 bytes", ClientFrame.make(9, bytes(125)), events: [.ping(bytes(125))]),
        .init("a pong", ClientFrame.make(10, hello), events: [.pong(hello)]),
        .init("a pong that is not UTF-8", ClientFrame.make(10, [0xFF]), events: [.pong([0xFF])]),
        .init(
            "a long ping and a short one", ClientFrame.make(9, bytes(100)), ClientFrame.make(9, [1]),
            events: [.ping(bytes(100)), .ping([1])]),
        .init(
            "a ping between fragments", ClientFrame.text("a", final: false), ClientFrame.make(9, hello),
            ClientFrame.more("b"), events: [.ping(hello), text("ab")]),
        .init(
            "a ping inside a character", ClientFrame.make(1, [0xC3], final: false), ClientFrame.make(9, [0xFF]),
            ClientFrame.make(0, [0xA9]), events: [.ping([0xFF]), text("é")]),
        .init("a ping of 126 bytes", ClientFrame.make(9, bytes(126)), closeCode: 1002),
        .init("a ping in the 64-bit form", ClientFrame.make(9, bytes(1), lengthForm: 64), closeCode: 1002),
        .init("a fragmented ping", ClientFrame.make(9, hello, final: false), closeCode: 1002),
        .init("a fragmented pong", ClientFrame.make(10, final: false), closeCode: 1002),
        .init("a fragmented close", ClientFrame.make(8, final: false), closeCode: 1002),
    ]

    static let framing: [WebSocketVector] = [
        .init("an unmasked text", [0x81, 0x01, 0x61], closeCode: 1002),
        .init("an unmasked empty text", [0x81, 0x00], closeCode: 1002),
        .init("an unmasked ping", [0x89, 0x00], closeCode: 1002),
        .init("an unmasked close", [0x88, 0x00], closeCode: 1002),
        .init("RSV1", ClientFrame.make(1, hello, reserved: 4), closeCode: 1002),
        .init("RSV2", ClientFrame.make(1, hello, reserved: 2), closeCode: 1002),
        .init("RSV3", ClientFrame.make(1, hello, reserved: 1), closeCode: 1002),
        .init("RSV1 on a ping", ClientFrame.make(9, reserved: 4), closeCode: 1002),
        .init(
            "RSV1 on a continuation", ClientFrame.text("a", final: false), ClientFrame.make(0, hello, reserved: 4),
            closeCode: 1002),
        .init("opcode 3", ClientFrame.make(3, hello), closeCode: 1002),
        .init("opcode 4", ClientFrame.make(4), closeCode: 1002),
        .init("opcode 5", ClientFrame.make(5), closeCode: 1002),
        .init("opcode 6", ClientFrame.make(6), closeCode: 1002),
        .init("opcode 7", ClientFrame.make(7), closeCode: 1002),
        .init("opcode 11", ClientFrame.make(11), closeCode: 1002),
        .init("opcode 12", ClientFrame.make(12), closeCode: 1002),
        .init("opcode 13", ClientFrame.make(13), closeCode: 1002),
        .init("opcode 14", ClientFrame.make(14), closeCode: 1002),
        .init("opcode 15", ClientFrame.make(15), closeCode: 1002),
        .init(
            "a reserved opcode behind a good message", ClientFrame.text("a"), ClientFrame.make(3),
            events: [text("a")], closeCode: 1002),
        .init("125 bytes in the 16-bit form", ClientFrame.make(2, bytes(125), lengthForm: 16), closeCode: 1002),
        .init("nothing in the 16-bit form", ClientFrame.make(2, lengthForm: 16), closeCode: 1002),
        .init("126 bytes in the 64-bit form", ClientFrame.make(2, bytes(126), lengthForm: 64), closeCode: 1002),
        .init("65,535 bytes in the 64-bit form", [0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], closeCode: 1002),
        .init("a length with its top bit set", [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], closeCode: 1002),
        .init(
            "the largest length that 64 bits can write", [0x82, 0xFF] + [UInt8](repeating: 0xFF, count: 8),
            closeCode: 1002),
        .init("a continuation of nothing", ClientFrame.more("a"), closeCode: 1002),
        .init("an unfinished continuation of nothing", ClientFrame.more("a", final: false), closeCode: 1002),
        .init(
            "a continuation behind a whole message", ClientFrame.text("a"), ClientFrame.more("b"),
            events: [text("a")], closeCode: 1002),
        .init(
            "a text inside a fragmented text", ClientFrame.text("a", final: false), ClientFrame.text("b"),
            closeCode: 1002),
        .init(
            "a binary frame inside a fragmented text", ClientFrame.text("a", final: false), ClientFrame.make(2),
            closeCode: 1002),
        .init("half a header", [0x81]),
        .init("half a length", [0x81, 0xFE, 0x01]),
        .init("half a mask", [0x81, 0x81, 1, 2, 3]),
    ]

    static let limited: [WebSocketVector] = [
        .init(
            "as much as the limit", ClientFrame.make(2, bytes(200)), events: [.message(2, bytes(200))],
            messageBytesMax: 200),
        .init(
            "more than the limit, said by the header", [0x82, 0xFE, 0x00, 0xC9], closeCode: 1009, messageBytesMax: 200),
        .init("more than 64 KiB by default", [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1], closeCode: 1009),
        .init("the largest legal length", [0x82, 0xFF, 0x7F] + [UInt8](repeating: 0xFF, count: 7), closeCode: 1009),
        .init(
            "fragments up to the limit", ClientFrame.make(2, bytes(100), final: false), ClientFrame.make(0, [1]),
            events: [.message(2, bytes(100) + [1])], messageBytesMax: 101),
        .init(
            "fragments over the limit", ClientFrame.make(2, bytes(100), final: false), ClientFrame.make(0, [1]),
            closeCode: 1009, messageBytesMax: 100),
        .init(
            "the limit is for each message", ClientFrame.make(2, [1, 2]), ClientFrame.make(2, [3, 4]),
            events: [.message(2, [1, 2]), .message(2, [3, 4])], messageBytesMax: 2),
        .init("control frames do not count", ClientFrame.make(9, hello), events: [.ping(hello)], messageBytesMax: 0),
        .init("empty messages fit into nothing", ClientFrame.make(2), events: [.message(2, [])], messageBytesMax: 0),
        .init(
            "two lengths whose sum would wrap", ClientFrame.make(2, [1], final: false),
            [0x80, 0xFF, 0x7F] + [UInt8](repeating: 0xFF, count: 7), closeCode: 1009, messageBytesMax: .max),
        .init(
            "as many fragments as the limit", ClientFrame.text("a", final: false), ClientFrame.more("b", final: false),
            ClientFrame.more("c"), events: [text("abc")], fragmentsMax: 3),
        .init(
            "one fragment too many", ClientFrame.text("a", final: false), ClientFrame.more("b", final: false),
            ClientFrame.more("c"), closeCode: 1008, fragmentsMax: 2),
        .init(
            "control frames are no fragments", ClientFrame.text("a", final: false), ClientFrame.make(9),
            ClientFrame.make(10), ClientFrame.more("b"), events: [.ping([]), .pong([]), text("ab")], fragmentsMax: 2),
        .init(
            "the fragments of each message are counted anew", ClientFrame.text("a", final: false),
            ClientFrame.more("b"), ClientFrame.text("c", final: false), ClientFrame.more("d"),
            events: [text("ab"), text("cd")], fragmentsMax: 2),
    ]

    static let utf8: [WebSocketVector] = [
        .init("text beyond ASCII", ClientFrame.text("Κόσμε 😀"), events: [text("Κόσμε 😀")]),
        .init(
            "a character over two fragments", ClientFrame.make(1, [0xE2, 0x82], final: false),
            ClientFrame.make(0, [0xAC]), events: [text("€")]),
        .init(
            "a character over four fragments", ClientFrame.make(1, [0xF0], final: false),
            ClientFrame.make(0, [0x9F], final: false), ClientFrame.make(0, [0x98], final: false),
            ClientFrame.make(0, [0x80]), events: [text("😀")]),
        .init("the largest code point", ClientFrame.make(1, [0xF4, 0x8F, 0xBF, 0xBF]), events: [text("\u{10FFFF}")]),
        .init("NUL in a text", ClientFrame.make(1, [0]), events: [text("\0")]),
        .init("a lone continuation byte", ClientFrame.make(1, [0x80]), closeCode: 1007),
        .init("an overlong slash", ClientFrame.make(1, [0xC0, 0xAF]), closeCode: 1007),
        .init("an overlong euro", ClientFrame.make(1, [0xF0, 0x82, 0x82, 0xAC]), closeCode: 1007),
        .init("a surrogate", ClientFrame.make(1, [0xED, 0xA0, 0x80]), closeCode: 1007),
        .init("beyond the largest code point", ClientFrame.make(1, [0xF4, 0x90, 0x80, 0x80]), closeCode: 1007),
        .init("0xFF", ClientFrame.make(1, [0xFF]), closeCode: 1007),
        .init("half a character at the end", ClientFrame.make(1, [0xE2, 0x82]), closeCode: 1007),
        .init(
            "half a character at the end of the fragments", ClientFrame.make(1, [0xE2], final: false),
            ClientFrame.make(0, [0x82], final: false), ClientFrame.make(0, []), closeCode: 1007),
        .init(
            "a fault in a fragment is told before the message ends", ClientFrame.make(1, [0xFF], final: false),
            closeCode: 1007),
        .init(
            "a character begun in one message does not end in the next", ClientFrame.make(1, [0xC3]),
            ClientFrame.make(1, [0xA9]), closeCode: 1007),
        .init(
            "a fault in the first bytes of an unfinished frame", [0x81, 0xFE, 0x10, 0x00, 0, 0, 0, 0, 0xFF],
            closeCode: 1007),
    ]

    static let closing: [WebSocketVector] = [
        .init("a close without a code", ClientFrame.make(8), events: [.close(nil, [])]),
        .init("a close with a code", ClientFrame.close(1000), events: [.close(1000, [])]),
        .init("a close with a reason", ClientFrame.close(1001, hello), events: [.close(1001, hello)]),
        .init(
            "a close with a long reason", ClientFrame.close(3000, [UInt8](repeating: 97, count: 123)),
            events: [.close(3000, [UInt8](repeating: 97, count: 123))]),
        .init(
            "a close inside a message", ClientFrame.text("a", final: false), ClientFrame.close(1000),
            events: [.close(1000, [])]),
        .init(
            "nothing counts behind a close", ClientFrame.close(1000), ClientFrame.text("a"), [0xFF, 0xFF, 0x00],
            events: [.close(1000, [])]),
        .init("half a code", ClientFrame.make(8, [3]), closeCode: 1002),
        .init("a reason of 124 bytes", ClientFrame.close(1000, bytes(124)), closeCode: 1002),
        .init("a reason that is not UTF-8", ClientFrame.close(1000, [0xFF]), closeCode: 1007),
        .init("a reason that ends within a character", ClientFrame.close(1000, [0xE2, 0x82]), closeCode: 1007),
        .init("an invalid code with an invalid reason", ClientFrame.close(999, [0xFF]), closeCode: 1002),
    ]
}
