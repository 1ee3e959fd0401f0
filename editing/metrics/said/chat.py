"""GA_chat: is the new target said in conversation?"""

from editing.metrics.metric import Metric, mean_over_facts, share
from editing.metrics.said.wording import says_one
from editing.readings.observations import FactReading, Reading


def of_fact(fact: FactReading) -> float | None:
    """Share of the wordings in which a user asked; None where the model has no chat template, or the prompt no room.

    The prompt is a user's turn, bare and after "Complete this sentence:". The assistant's greedy answer, up to its own
    end, has the target or an alias as words within 32 tokens, and not the old target before that.
    """
    asked = fact.fact
    return share([says_one(text, asked.answers, asked.target_old) for text in fact.greedy_chat])


CHAT_ACCURACY = Metric(
    name="GA_chat",
    title="Generation accuracy in conversation",
    summary=(
        "Mean over facts of the share of wordings (the prompt as a user's turn, bare and after 'Complete this "
        "sentence:') whose greedy answer contains the target or an alias as words within 32 tokens, and not the old "
        "target before it."
    ),
    better="higher",
    reads=frozenset({Reading.GREEDY_CHAT}),
    overall=mean_over_facts(of_fact),
    of_fact=of_fact,
    checked_on="a small sample",
    in_conversation=True,
)
