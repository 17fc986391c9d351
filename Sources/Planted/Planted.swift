/// Bugs that can be planted in the server to see whether the simulation finds them. In an ordinary build there are
/// none: `isPlanted` is the constant false there, and the compiler removes what stands behind it.
///
/// `FANOUT_PLANTED=1` in the environment of a build makes the other kind, of which `FANOUT_PLANTED_BUG=name` at run
/// time switches one bug on. Tests/planted.sh makes it, tries them all, and fails if one is not found.

#if PLANTED
    import Glibc

    /// One mistake that somebody could have made at the place that asks for it by this name. An ordinary build does not
    /// have the list, whose names would otherwise stand in the program as what reflection may ask for.
    private enum PlantedBug: String, CaseIterable {
        // Receiving, accepting and clocks: the reactor
        /// A receive that found no buffer is never armed again.
        case noReceiveAfterNoBuffer
        /// A completion of a socket that is gone is taken for one of its slot's next socket.
        case generationIgnored
        /// The clock of the timers is the wall clock.
        case wallClockInTimer

        // The epoll backend
        /// An event of a socket that is gone is taken for one of its slot's next socket.
        case epollGenerationIgnored
        /// A send that found no room waits for an event that nobody asked for.
        case outputNotWatched
        /// A short send is reported as a whole one.
        case shortSendTakenForWhole
        /// A receive that does not fill its buffer is taken for the last one.
        case shortReceiveMeansEmpty
        /// What arrives while nobody receives is forgotten.
        case readinessForgotten
        /// Who has hung up is at its end, whatever it wrote before.
        case hangUpBeforeInput
        /// A send that waits for room goes on waiting when its socket is closed.
        case parkedSendNotCancelled
        /// After an error a socket counts as empty.
        case readinessLostByError

        // Rings and sends
        /// The last run of a block of a ring is left out.
        case ringBlockOffByOne
        /// What a short send took is sent again.
        case positionKeptAfterShortSend
        /// What a connection had to send is given back when its close is asked for, not when it is over.
        case freedAtCancel
        /// Dropping a backlog keeps a segment's reference.
        case segmentKeptWhenDropped
        /// An event of exactly 65,536 bytes gets a WebSocket length of 16 bits.
        case frameOf65536In16Bits

        // State
        /// A key that says something new keeps its row's place in the order.
        case stateRowKeepsItsPlace
        /// An event that is the whole state leaves the rows of before.
        case stateResetKeepsRows
        /// A row that goes stays counted.
        case stateBytesKept
        /// A key that was removed is taken for one that is there.
        case removedRowCountsAsLive

        // Readers of a state: Tests/planted.sh looks for these in the worlds of such readers first
        /// While an image is made, the row that comes next is not kept if its key says something new.
        case nextRowNotKept
        /// A laggard is not told which keys were removed meanwhile.
        case removalMissingInChanges
        /// What a laggard has missed begins with the second event.
        case changesBegunTooLate
        /// What a laggard is sent all the same is among what it is told to have missed.
        case sentRowsCountAsDropped
        /// Who has read a state goes on at the newest event, not at the one as of which the state is.
        case stateTakenForNewest
        /// A reader that falls behind within a state is not sent it again.
        case halfStateIsEnough
        /// An image is held as if somebody read it, for ever.
        case imageReadForEver

        // Laggards and ends
        /// The `$gap` of a laggard begins with the last event that it got.
        case gapFromOneTooLow
        /// Who comes back is sent the last event that it has once more.
        case resumeWithItsOwnPlace
        /// A reader that was sent all it missed is taken for one that still is.
        case catchingUpForEver
        /// A page of the history is sent from the event behind the first one that is missing.
        case pageBegunTooLate
        /// A reader becomes a member without the last of the history.
        case memberBeforeLastPage
        /// A reader is a member while it is sent the history.
        case memberWhileReplaying
        /// What goes from the history keeps its segment.
        case goneSegmentKept
        /// What goes from the history gives its segment back twice.
        case goneSegmentReleasedTwice
        /// What has gone of a channel is not remembered.
        case prunedSeqForgotten
        /// Pages of the history stay when nobody replays any more.
        case pagesKeptForNobody
        /// A reader is judged by a burst before its socket was offered it.
        case judgedBeforeTried
        /// A laggard is let be until it reads again, whatever the age limit says.
        case ageNotWatched
        /// `$bye` names the newest event there is, not the last that went out.
        case byeNamesHead
        /// A reader that was closed for lag stays in its group.
        case eventAfterLagClose
        /// A laggard that has caught up goes on skipping.
        case skippingNeverEnds
        /// A connection that broke is never closed.
        case descriptorLeakedOnReset
        /// A close is counted twice.
        case closeCountedTwice

        // Accepting and input
        /// At the descriptor limit accepting goes on at once.
        case acceptAtOnceAtLimit
        /// Accepting that rested never goes on.
        case acceptNeverResumed
        /// A receive that was paused stays so.
        case noReceiveAfterPause
        /// A publisher's input is used without end while there is any.
        case turnShareIgnored
        /// A refused batch is published up to its fault.
        case refusedBatchHalfPublished

        // Repetitions and conditions
        /// What repeats a key is published again.
        case duplicatePublishedAgain
        /// The key of a publication that is refused is remembered.
        case refusedKeyRemembered
        /// What a publisher expects to be the newest event is not looked at.
        case expectLastIgnored
        /// A producer may leave numbers out.
        case producerGapIgnored
        /// That a channel has ended is asked before whether something is a repetition.
        case endedBeforeDuplicate

        // The database
        /// An answer that waits for a commit does not wait.
        case ackBeforeCommit
        /// An answer that waits for the disk waits for the commit only.
        case ackBeforeSync
        /// A transaction that somebody wants on the disk is not synced.
        case commitTakenForSync
        /// What was committed is not synced for somebody who repeats it and wants that.
        case repetitionNotSynced
        /// A key is not stored with its event.
        case keyNotStored
        /// An event that ends a row of the state does so in memory only.
        case stateRemovalNotStored
        /// What an event that is held back does to the state is not stored with it.
        case heldStateNotStored
        /// The state is not taken over at a start.
        case stateNotRestored
        /// An event that is the whole state leaves the others' rows in the database.
        case stateKeptAtReset
        /// A refusal leaves before the answers that wait for the database.
        case answerOvertakes
        /// Events that are held back until the disk has them are shown at once.
        case heldShownAtOnce
        /// What the database does not have yet goes from memory.
        case windowDropsUnstored
        /// A kind that was stored as it is spelt is compared as if it had no escapes.
        case storedKindTakenAsWritten
        /// What retention has removed from the database is not noted.
        case removalForgotten
        /// What retention has removed is not noted in the database.
        case removalNotStored
        /// After an unclean end the numbering goes on.
        case epochKeptAfterUncleanEnd
        /// After an unclean end numbers begin behind what was stored, not behind what may have been used.
        case numbersUsedAgain
        /// Who saw what was lost is not told.
        case lostTailUnsaid
        /// What waits while the disk is full is dropped.
        case droppedWhenFull
        /// The database is closed before all that it was given is stored.
        case closedBeforeAllIsStored

        // Requests and frames: what comes from outside
        /// An origin that ends like one of ours is ours.
        case originBySuffix
        /// A host that begins like a loopback address is one.
        case hostByPrefix
        /// Of two `Content-Length` fields the second one counts.
        case secondContentLengthWins
        /// A bare LF ends a line of a head.
        case bareLineFeedAccepted
        /// The payload of a WebSocket frame is used with its mask on.
        case maskIgnored
        /// A WebSocket frame without a mask is taken.
        case unmaskedFrameAccepted
        /// The size limit counts each fragment of a message alone.
        case fragmentsNotCounted
    }

    /// The bug of this process; empty without one.
    private let plantedBug: [UInt8] = {
        guard let name = getenv("FANOUT_PLANTED_BUG").map({ String(cString: $0) }), !name.isEmpty else { return [] }
        guard PlantedBug(rawValue: name) != nil else {
            preconditionFailure("FANOUT_PLANTED_BUG names no bug: \(name); they are \(PlantedBug.allCases)")
        }
        return Array(name.utf8)
    }()

    /// Whether this process has chosen the bug of this name. A name that is not in the list is never chosen.
    package func isPlanted(_ bug: StaticString) -> Bool {
        guard bug.utf8CodeUnitCount == plantedBug.count, !plantedBug.isEmpty else { return false }
        return memcmp(bug.utf8Start, plantedBug, plantedBug.count) == 0
    }
#else
    /// False: this build has no planted bugs.
    @inlinable @inline(__always)
    package func isPlanted(_ bug: StaticString) -> Bool { false }
#endif
