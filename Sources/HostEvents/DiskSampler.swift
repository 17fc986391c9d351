/// `disk.sample` for each real block device, and `filesystem.sample`, on `host/disk`.

import Glibc

/// Keeps the counters of `/proc/diskstats` (the kernel's Documentation/admin-guide/iostats.rst) between two readings.
struct DiskSampler: Sendable {
    /// A sector in `/proc/diskstats`, whatever the device's own sector size.
    private static let sectorBytes: UInt64 = 512

    private struct Device {
        let name: [UInt8]
        let reads: UInt64
        let sectorsRead: UInt64
        let writes: UInt64
        let sectorsWritten: UInt64
        let busyMilliseconds: UInt64
    }

    private let sys: String
    private let fileSystem: String
    private var before: [[UInt8]: Device] = [:]

    init(sys: String, fileSystem: String) {
        self.sys = sys
        self.fileSystem = fileSystem
    }

    mutating func sample(
        _ proc: String, _ text: inout KernelText, over milliseconds: UInt64?, into events: inout [HostEvent]
    ) {
        if text.load("\(proc)/diskstats") {
            let present = Self.devices(text.bytes.span.extracting(0..<text.count))
            if let milliseconds {
                for device in present {
                    guard let last = before[device.name], isReal(device.name) else { continue }
                    events.append(Self.event(device, since: last, over: milliseconds))
                }
            }
            before = Dictionary(present.map { ($0.name, $0) }) { _, second in second }
        }
        sampleFileSystem(into: &events)
    }

    /// `254 0 vda 70473 10160 6475690 19343 27285 17239 2423496 7729 0 10504 …`
    private static func devices(_ text: Span<UInt8>) -> [Device] {
        var found: [Device] = []
        var cursor = TextCursor()
        repeat {
            cursor.skip(2, text)
            guard let name = cursor.word(text), let reads = cursor.number(text) else { continue }
            cursor.skip(1, text)
            let sectorsRead = cursor.number(text) ?? 0
            cursor.skip(1, text)
            let writes = cursor.number(text) ?? 0
            cursor.skip(1, text)
            let sectorsWritten = cursor.number(text) ?? 0
            cursor.skip(2, text)
            guard let busy = cursor.number(text) else { continue }
            found.append(
                Device(
                    name: copy(text, name), reads: reads, sectorsRead: sectorsRead, writes: writes,
                    sectorsWritten: sectorsWritten, busyMilliseconds: busy))
        } while cursor.nextLine(text)
        return found
    }

    /// Whole disks with hardware behind them have a `device` link in sysfs; partitions, loop devices, RAM disks and
    /// what is layered upon disks have none. sysfs writes a slash in a name as `!`.
    private func isReal(_ name: [UInt8]) -> Bool {
        let safe = name.map { $0 == UInt8(ascii: "/") ? UInt8(ascii: "!") : $0 }
        return access("\(sys)/block/\(String(decoding: safe, as: UTF8.self))/device", F_OK) == 0
    }

    private static func event(_ now: Device, since last: Device, over milliseconds: UInt64) -> HostEvent {
        func rate(_ counter: (Device) -> UInt64) -> Double {
            perSecond(counter(now), since: counter(last), over: milliseconds)
        }
        var event = EventText("host/disk", "disk.sample")
        event.add("device", text: now.name)
        event.add("read_bytes_per_s", wholeNumber(rate(\.sectorsRead) * Double(sectorBytes)))
        event.add("write_bytes_per_s", wholeNumber(rate(\.sectorsWritten) * Double(sectorBytes)))
        event.add("reads_per_s", tenths: rate(\.reads))
        event.add("writes_per_s", tenths: rate(\.writes))
        let busy = growth(of: now.busyMilliseconds, since: last.busyMilliseconds)
        event.add("busy_percent", tenths: percent(busy, of: milliseconds))
        return event.finished()
    }

    /// statvfs(3): `free` counts what only root may use too, `available` does not.
    private func sampleFileSystem(into events: inout [HostEvent]) {
        var figures = statvfs()
        guard statvfs(fileSystem, &figures) == 0, figures.f_blocks > 0 else { return }
        let block = figures.f_frsize > 0 ? UInt64(figures.f_frsize) : UInt64(figures.f_bsize)
        func bytes(_ blocks: UInt64) -> UInt64 {
            let (product, overflowed) = blocks.multipliedReportingOverflow(by: block)
            return overflowed ? .max : product
        }
        let used = growth(of: UInt64(figures.f_blocks), since: UInt64(figures.f_bfree))
        let usable = used.addingReportingOverflow(UInt64(figures.f_bavail)).partialValue
        var event = EventText("host/disk", "filesystem.sample")
        event.add("path", text: Array(fileSystem.utf8))
        event.add("used_percent", tenths: percent(used, of: usable))
        event.add("available_bytes", bytes(UInt64(figures.f_bavail)))
        event.add("total_bytes", bytes(UInt64(figures.f_blocks)))
        events.append(event.finished())
    }
}
