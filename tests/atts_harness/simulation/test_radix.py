"""The prefix cache against a plain list of what was put in."""

import random

from atts_harness.simulation.radix import PrefixTree


def common(a, b):
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length


def test_the_longest_prefix_is_found_whatever_was_put_in():
    rng = random.Random(3)
    tree, kept = PrefixTree(), []
    for _ in range(400):
        base = rng.choice(kept)[: rng.randint(0, 30)] if kept and rng.random() < 0.7 else ()
        ids = (*base, *(rng.randrange(4) for _ in range(rng.randint(1, 20))))
        _, length = tree.match(ids, len(ids))
        assert length == max((common(ids, other) for other in kept), default=0)
        node = tree.insert(tree.root, ids)
        tree.pin(node)
        assert tree.pinned == len(ids)
        tree.unpin(node)
        kept.append(ids)
    assert tree.pinned == 0
    prefixes = {other[:n] for other in kept for n in range(1, len(other) + 1)}
    assert tree.tokens == len(prefixes)


def test_the_least_recent_goes_first_and_what_is_pinned_stays():
    tree = PrefixTree()
    old = tree.insert(tree.root, (1, 2, 3, 4))
    tree.insert(tree.root, (5, 6, 7, 8))
    tree.match((1, 2, 3, 4), 4)
    assert tree.evict(1) == 4
    assert tree.match((5, 6), 2)[1] == 0
    tree.pin(old)
    assert tree.evict(100) == 0
    tree.unpin(old)
    assert tree.evict(100) == 4
    assert tree.tokens == 0


def test_a_parent_goes_after_its_children():
    tree = PrefixTree()
    tree.insert(tree.root, (1, 2, 3))
    tree.insert(tree.root, (1, 2, 4))
    assert tree.tokens == 4
    assert tree.evict(float("inf")) == 4
    assert not tree.root.children
