// The store's thread on the machine's own file system.

import Foundation
import Testing

@testable import EventStore

@Suite("The store's thread")
struct ThreadTests {
    /// Waits for reports until `isEnough`, half a minute at most.
    private func wait(
        _ thread: StoreThread, _ news: DispatchSemaphore, until isEnough: (StoreReport) -> Bool
    ) {
        let deadline = DispatchTime.now() + 30
        while true {
            if let report = thread.queue.takeReport(), isEnough(report) { return }
            if news.wait(timeout: deadline) == .timedOut {
                Issue.record("no report in time")
                return
            }
        }
    }

    @Test("publications from one thread are stored in their order, read back, and are there after the end")
    func life() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        let news = DispatchSemaphore(value: 0)
        let store = try EventStore.open(folder.configuration(), nowMs: 1_000_000)
        let thread = try StoreThread(store: store) { news.signal() }
        for round in UInt64(0)..<500 {
            var batch = StoreBatch()
            batch.publish(
                ["a\(round)", "b\(round)"], at: round * 2 + 1, level: round % 10 == 0 ? .synced : .committed)
            thread.queue.append(&batch)
        }
        var stored: UInt64 = 0
        wait(thread, news) { report in
            #expect(report.committed >= stored && report.synced <= report.committed)
            stored = report.committed
            return stored == 1000
        }
        #expect(thread.queue.ask(.page(ticket: 7, StoreQuery(.before(.max), rowsMax: 2))))
        wait(thread, news) { report in
            guard let page = report.pages.first else { return false }
            #expect((try? page.result.get().texts) == ["999 events a499", "1000 events b499"])
            return true
        }
        thread.queue.close(used: 1000)
        wait(thread, news) { $0.state == .ended(nil) }
        thread.join()
        try folder.open(epoch: 2) { store throws in
            #expect(store.opening.beginning == .goesOn)
            #expect(try store.everything().count == 1000)
            try store.checkIntegrity()
        }
    }
}
