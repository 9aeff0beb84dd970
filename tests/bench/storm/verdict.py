"""What can be judged only once all is known: logins and their causes, and what watchers missed."""

from tests.bench.storm.journal import GARBLED, SLOW, Line
from tests.bench.storm.judge import LAG, Judge, Known, Watch, claims_of

ACCOUNTS = ("main", "family", "codes")
TEN_MINUTES = 600.0
SECOND_CHANCE = 1790.0  # seconds after a refusal in which nothing is tried without a word
WRITTEN = 1.0  # seconds in which neod has written down what came of a request
EARLY = 0.3125  # of its life, that a session is renewed ahead of its end at most
SEEN = 0.15  # seconds until somebody has seen a new session
SENT = 1.0  # seconds in which a request is on its way once neod has written that it tries
AT_ONCE = 5.0  # seconds in which a login follows the wish for it, once it may


def conclude(judge: Judge) -> None:
    """Judge what is over."""
    judge.follow()
    for account in ACCOUNTS:
        _budget(judge, account)
        _after_refusals(judge, account)
        _causes(judge, account)
        _pauses(judge, account)
    for watch in judge.watches:
        _missed(judge, watch)


def _heard(judge: Judge, line: Line) -> bool:
    """Whether neod understood this answer, and lived to write down that it came."""
    if line.spoilt in GARBLED:
        return False
    late = SLOW if line.spoilt == "slow" else 0.0
    by = _running(judge, line.at, late + WRITTEN)
    death = next((death for death in sorted(judge.deaths) if death >= line.at), float("inf"))
    return death >= by and not (death < float("inf") and _unwritten(judge, line.at, by))


def _running(judge: Judge, begin: float, seconds: float) -> float:
    """When neod has run for so long since, without the times in which it was stopped.

    That is never where it does not go on; now will do then, at the end of all.
    """
    end = begin + seconds
    while end < judge.now() and (later := begin + seconds + judge.paused(begin, end)) > end:
        end = later
    return end


def _unwritten(judge: Judge, begin: float, end: float) -> bool:
    """Whether what came then may not have been on the disk at once, for a death to lose."""
    return judge.troubled("unwritten", begin - LAG, end)


# P3


def _budget(judge: Judge, account: str) -> None:
    """Logins within what the configuration allowed by then."""
    lines = judge.journal.of(account)
    ends = [line for line in lines if line.refused or line.accepts]
    heard = [line for line in ends if line.token in judge.of_token or _heard(judge, line)]
    times = [line.at for line in heard]
    for place, line in enumerate(heard):
        judge.weighed["logins within the budget"] += 1
        count = sum(line.at - TEN_MINUTES < before for before in times[: place + 1])
        allowed = _allowed(judge, judge.journal.begin(line), line.at)
        if count > allowed:
            judge.broke("P3", f"{count} logins of {account} in 10 minutes, {allowed} allowed")


def _allowed(judge: Judge, begin: float, end: float) -> int:
    """The most that was allowed while the login was decided on and made."""
    found = []
    for place, budget in enumerate(judge.budgets):
        after = judge.budgets[place + 1 :][:1]
        gone = after[0].taken_up if after else float("inf")
        if budget.written <= end and begin <= gone:
            found.append(budget.logins)
    return max(found)


def _after_refusals(judge: Judge, account: str) -> None:
    """After a refusal nothing is tried without a person's word, or other secrets."""
    lines = judge.journal.of(account)
    in_a_row = 0
    for place, line in enumerate(lines[:-1]):
        in_a_row = in_a_row + 1 if line.refused else 0 if line.accepts else in_a_row
        after = lines[place + 1]
        if not line.refused or not _heard(judge, line):
            continue
        judge.weighed["refusals"] += 1
        next_code = line.fault == "totp-wrong" and in_a_row == 1
        late = after.at - line.at >= SECOND_CHANCE
        died = any(line.at <= death <= after.at for death in judge.deaths)
        lost = died and _unwritten(judge, line.at, _running(judge, line.at, WRITTEN))
        if not (next_code or late or lost or _allowed_again(judge, line, after)):
            judge.broke(
                "P3",
                f"{account} was refused at {line.at:.2f} and tried again at {after.at:.2f}, "
                "without a word",
            )


def _allowed_again(judge: Judge, refused: Line, tried: Line) -> bool:
    for word in judge.words:
        if refused.account not in word.accounts or word.span.begin > tried.at:
            continue
        # Who changed the secrets may have done so while the login was under way.
        late = 15.0 if word.wish == "secrets" else 0.0
        same = word.wish == "secrets" and refused.mistyped and tried.mistyped
        if word.wish != "renew" and not same and word.span.end + late >= refused.at:
            return True
    return False


# P4


def _causes(judge: Judge, account: str) -> None:
    """Each login that brought a session had a cause: no two of them for one session."""
    for line in judge.journal.of(account):
        if not line.accepts or line.token not in judge.of_token:
            continue
        brought = judge.of_token[line.token]
        before = _before(judge, brought)
        if before is None or brought.account != account:
            continue
        judge.weighed["logins with a cause"] += 1
        if not _is_due(judge, before, line.at) and not _wished(judge, before, line.at):
            judge.broke(
                "P4",
                f"a login of {account} at {line.at:.2f} without a cause: generation "
                f"{before.generation} was there, served from {before.first:.2f} to "
                f"{before.last:.2f}, and ends at {before.end:.2f}",
            )


def _before(judge: Judge, brought: Known) -> Known | None:
    """The session that this one took the place of; None where nobody saw it."""
    account, generation = brought.account, brought.generation
    while before := judge.all.get((account, generation - 1)):
        if before.token != brought.token:
            return before
        generation -= 1
    return None


def _is_due(judge: Judge, before: Known, at: float) -> bool:
    """Whether the session was gone, dead, doubted, lost, or near its end."""
    claims = claims_of(before.token)
    ahead = EARLY * (claims["exp"] - claims["iat"])
    doubted = judge.doubted.get(before.token, float("inf"))
    dead = judge.journal.dead.get(before.token, float("inf"))
    return (
        before.gone
        or at >= claims["exp"] - ahead - 1.5
        or min(doubted, dead) <= at
        or judge.lost(before)
    )


def _wished(judge: Judge, before: Known, at: float) -> bool:
    """Whether a person wished for a login, or changed what is sent with it."""
    for word in judge.words:
        if before.account not in word.accounts or word.span.begin > at:
            continue
        if word.wish == "secrets" and word.span.end + 15.0 >= before.first:
            return True
        since = before.first - judge.paused(word.span.begin, before.first) - SEEN - judge.lag
        if word.wish == "renew" and since <= word.span.begin and at <= word.span.end + AT_ONCE:
            return True
    return False


def _pauses(judge: Judge, account: str) -> None:
    """While a person has paused an account nobody logs in, but on a person's word."""
    for pause in judge.words:
        if pause.wish != "pause" or account not in pause.accounts:
            continue
        for line in judge.journal.of(account):
            since = pause.span.begin
            if not since < _sent(judge, line, since) <= line.at < pause.span.end:
                continue
            begin = judge.journal.begin(line)
            judge.weighed["tried in a pause"] += 1
            renewed = any(
                word.wish == "renew"
                and account in word.accounts
                and word.span.meets(begin - AT_ONCE, line.at)
                for word in judge.words
            )
            if not renewed:
                judge.broke("paused", f"{account} was paused, and tried at {line.at:.2f}")


def _sent(judge: Judge, line: Line, since: float) -> float:
    """When neod decided to send this request, at the earliest; `since` is when it should not."""
    late = SLOW if line.spoilt == "slow" else 0.0
    if judge.troubled("broker stopped", since, line.at):
        return since  # it may have lain there
    return line.at - late - SENT - judge.lag - judge.paused(since, line.at)


# The watch


def _missed(judge: Judge, watch: Watch) -> None:
    """What a watcher should have been told of and was not, or late."""
    patience = 1.0 + LAG + judge.lag
    for (account, generation), known in judge.all.items():
        if watch.account not in (None, account) or generation == watch.after:
            continue
        begin, end = max(watch.opened, known.first), min(watch.closed, known.last)
        if end - begin - judge.paused(begin, end) <= patience:
            continue
        judge.weighed["sessions to be told of"] += 1
        got = watch.got.get((account, generation))
        name = f"{account}'s generation {generation}"
        if got is None:
            judge.broke(
                "watch",
                f"{name} was served from {known.first:.2f} to {known.last:.2f}, and a watcher "
                f"from {watch.opened:.2f} to {watch.closed:.2f} was not told",
            )
        elif got - begin - judge.paused(begin, got) > patience:
            judge.broke("watch", f"{name} was told {got - begin:.1f} s late")
    for known in judge.all.values():
        _missed_its_end(judge, watch, known)


def _missed_its_end(judge: Judge, watch: Watch, known: Known) -> None:
    """A session that lapsed while it was the newest, and of which a watcher had been told."""
    key = known.account, known.generation
    newer = judge.all.get((known.account, known.generation + 1))
    until = min(watch.closed, newer.first if newer else watch.closed)
    over = until - known.end - judge.paused(known.end, until)
    if key not in watch.got or known.gone or over <= 1.0 + 2 * LAG + judge.lag:
        return
    judge.weighed["ends to be told of"] += 1
    if key not in watch.ended:
        judge.broke(
            "watch",
            f"{known.account}'s generation {known.generation} ended at {known.end:.2f}, and a "
            f"watcher until {watch.closed:.2f} was not told",
        )
