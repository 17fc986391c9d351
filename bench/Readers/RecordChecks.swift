// Server-sent events (HTML standard, section 9.2), in exactly the form that the contract gives them.

import ClientSockets
import Glibc

extension Checker {
    /// Takes whole records, each ended by an empty line; how many bytes they were.
    func takeRecords(_ index: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        let reader = readers + index
        var at = 0
        while at < count {
            if let page = nextPage(reader) {
                let need = Int(page.pointee.bodyOffset) + Int(page.pointee.bodyCount) + 2
                if count - at >= need, memcmp(bytes + at, book.frame(Int(reader.pointee.nextEvent)), need) == 0 {
                    accept(index, page)
                    at += need
                    continue
                }
            }
            guard let end = find([10, 10], in: bytes + at, count - at) else { return at }
            let length = end + 1
            takeRecord(index, bytes + at, length)
            guard reader.pointee.isLive else { return at }
            at += length + 1
        }
        return at
    }

    /// One record, its last line feed included, the empty line not: a comment, or `data:` after, optionally, `retry:`,
    /// `event:` (control records) and `id:` (required on events).
    private func takeRecord(_ index: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        var text = StrictJSON(bytes, count)
        if text.take(":\n"), text.at == count {
            if readers[index].phase == .hello { fault(index, "a keep-alive before $hello") }
            return
        }
        text.at = 0
        var name: String?
        var id: (epoch: UInt64, seq: UInt64)?
        if text.take("retry: ") {
            guard text.unsigned() != nil, text.take("\n") else { return refuse(index, bytes, count) }
            if text.at == count { return }
        }
        if text.take("event: ") { name = line(&text) }
        if text.take("id: ") {
            id = text.cursor()
            guard id != nil, text.take("\n") else { return refuse(index, bytes, count) }
        }
        guard text.take("data: ") else { return refuse(index, bytes, count) }
        let start = text.at
        guard line(&text) != nil, text.at == count else { return refuse(index, bytes, count) }
        if id == nil, name == nil { fault(index, "an event without an id: \(excerpt(bytes, count))") }
        takeObject(index, bytes + start, count - start - 1, name: name, id: id)
    }

    private func line(_ text: inout StrictJSON) -> String? {
        guard let end = memchr(text.base + text.at, 10, text.count - text.at) else { return nil }
        let length = UnsafeRawPointer(end) - UnsafeRawPointer(text.base + text.at)
        let line = UnsafeBufferPointer(start: text.base + text.at, count: min(length, 64))
        text.at += length + 1
        return String(decoding: line, as: UTF8.self)
    }

    private func refuse(_ index: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        drop(index, "not a record of the contract's form: \(excerpt(bytes, count))")
    }
}
