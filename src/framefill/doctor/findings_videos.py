"""What is wrong with the set of videos: files, parts, lengths, classes, copies."""

from collections.abc import Iterator
from itertools import islice

from framefill.data.examine import Facts
from framefill.doctor.asked import Asked
from framefill.doctor.report import Finding, Value
from framefill.doctor.wording import NAMED, files_of, number_of, short_name, some_of


def judge_files(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Name what can't be opened, and count what is passed over."""
    for number, each in enumerate(facts.refused):
        if number == 50:
            rest = len(facts.refused) - number
            yield Finding(subject="files", weight="stops", text=f"and {rest} more like these")
            return
        yield Finding(
            subject="files", weight="stops", text=each.reason, unfit=files_of([each.name], asked)
        )
    if facts.passed_over:
        kinds = ", ".join(f"{count} {kind}" for kind, count in islice(facts.passed_over.items(), 8))
        yield Finding(subject="files", weight="note", text=f"passed over, as no videos: {kinds}")


def judge_division(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Say what is missing to train or to test on."""
    if "train" in facts.remarks:
        settings: dict[str, Value] = {"data.benchmark": "none"} if facts.benchmark else {}
        yield Finding(
            subject="training part",
            weight="stops",
            text=facts.remarks["train"],
            settings=settings if facts.of("train") else {},
        )
    elif not facts.of("test"):
        yield Finding(
            subject="test part",
            weight="stops" if asked.config.log.sample_every else "harms",
            text=f"{facts.remarks.get('test', 'nothing is held out')}; or train without pictures "
            "of held-out clips, and without a way to tell learning from memorizing",
            settings={"log.sample_every": 0} if asked.config.log.sample_every else {},
        )


def judge_lengths(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Name videos that are shorter than a clip."""
    config = asked.config
    span = (config.masks.frames - 1) * asked.videos.every + 1
    if asked.videos.short == "pad":
        return
    for part in ("train", "test"):
        videos = facts.of(part)
        short = [each.name for each in videos if each.length < span]
        if not short:
            continue
        all_of_them = len(short) == len(videos)
        yield Finding(
            subject="lengths",
            weight="stops" if all_of_them else "harms" if 2 * len(short) > len(videos) else "note",
            text=f"{len(short)} of {len(videos)} videos to {part} are shorter than a clip, which "
            f"spans {span} frames: {some_of(short, facts)}",
            settings={"data.short": "pad"} if 2 * len(short) > len(videos) else {},
        )


def judge_classes(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Compare the classes of training and testing."""
    train, test = (facts.classes.get(part, {}) for part in ("train", "test"))
    if new := [name for name in test if name not in train]:
        yield Finding(
            subject="classes",
            weight="stops" if asked.videos.classes else "note",
            text=f"classes to test on that are never trained on: {', '.join(new[:20])}",
        )
    if train and asked.videos.classes and max(train.values()) > 10 * min(train.values()):
        rare = min(train, key=lambda name: train[name])
        yield Finding(
            subject="classes",
            weight="note",
            text=f"class {rare} has {number_of(train[rare], 'video')} and the largest "
            f"{max(train.values())}: every video is drawn equally often",
        )


def judge_copies(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Name what is there twice, and what is in training and testing."""
    for names in facts.copies[:NAMED]:
        parts = {name.split(":")[0] for name in names}
        yield Finding(
            subject="copies",
            weight="note" if len(parts) == 1 else "harms",
            text=f"the same frames: {some_of(names, facts)}"
            + ("" if len(parts) == 1 else "; what is tested on must not be trained on"),
        )
    leaks = [each for each in facts.shared if each.equal or each.near > 0.1 * each.compared]
    for each in leaks[:NAMED]:
        yield Finding(
            subject="leak",
            weight="harms" if each.near > 0.05 * each.compared else "note",
            text=f"{each.near} of {each.compared} frames of the test video "
            f"{short_name(each.test, facts)} are in the training video "
            f"{short_name(each.train, facts)} ({each.equal} exactly): scores on it say nothing",
        )
    if len(leaks) > NAMED:
        yield Finding(
            subject="leak", weight="harms", text=f"and {len(leaks) - NAMED} more test videos"
        )
    if facts.shared_times:
        yield Finding(
            subject="leak",
            weight="harms",
            text=f"training and test have {facts.shared_times} time stamps in common: unless they "
            "are of different places, test on times that training never sees",
        )
