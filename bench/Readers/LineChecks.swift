// JSON lines: raw over unix and TCP, and as an HTTP stream.

import Glibc

extension Checker {
    /// Takes whole lines; how many bytes they were.
    func takeLines(_ index: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        let reader = readers + index
        var at = 0
        while at < count {
            if let page = nextPage(reader) {
                let need = Int(page.pointee.bodyCount) + 1
                let body = book.frame(Int(reader.pointee.nextEvent)) + Int(page.pointee.bodyOffset)
                if count - at >= need, memcmp(bytes + at, body, need) == 0 {
                    accept(index, page)
                    at += need
                    continue
                }
            }
            guard let end = memchr(bytes + at, 10, count - at) else { return at }
            let length = UnsafeRawPointer(end) - UnsafeRawPointer(bytes + at)
            if length == 0 {
                fault(index, "an empty line")
            } else {
                takeObject(index, bytes + at, length)
            }
            guard reader.pointee.isLive else { return at }
            at += length + 1
        }
        return at
    }
}
