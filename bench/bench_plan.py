"""The plan of a large fleet, all inputs in memory, nothing to do. Limit: 0.1 s for 10,000 ShopSets, growing linearly."""

from measuring import alternate, large_fleet, shown
from shopset.core.release.planning import plan
from support.pure import PureWorld

TIERS, CLUSTERS, RUNS, LIMIT = 10, 50, 7, 0.1


def main() -> None:
    """Print the time of a plan for several sizes."""
    per_shopset = []
    for size in (1_000, 2_500, 5_000, 10_000):
        world = PureWorld(large_fleet(size, TIERS, CLUSTERS))
        world.begin()
        while world.plan().actions:
            world.act(world.plan().actions)
            world.sync()
        observed = world.observe()
        made = plan(world.fleet, observed)
        observed = observed.with_answers({question: world.answer(question) for question in made.questions})
        assert not plan(world.fleet, observed).actions
        seconds = alternate({"plan": lambda observed=observed, world=world: plan(world.fleet, observed)}, RUNS)["plan"]  # type: ignore[misc]
        per_shopset.append(sorted(seconds)[RUNS // 2] / size)
        print(f"plan of {size:6,} ShopSets, {TIERS} tiers, {CLUSTERS} clusters: {shown(seconds)}")
    print(f"ratio to the limit of {LIMIT} s at 10,000: {per_shopset[-1] * 10_000 / LIMIT:.2f} (at most 1)")
    print(f"time per ShopSet at 10,000 over that at 1,000: {per_shopset[-1] / per_shopset[0]:.2f} (1 is linear)")


if __name__ == "__main__":
    main()
