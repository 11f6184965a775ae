"""Conversations that a small chat model can learn: tasks with a right answer, made here, and the chatterbot corpus.

Each task is a function that returns pairs (conversation, is_held_out). What is held out differs by task, and decides
what its figure means: facts are asked in other words than in training, sums have other numbers, words to repeat are
other words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import yaml

from minitransformers.assets import fetch

Conversation = list[str]
"""Turns, the user's first, then the assistant's, and so on."""

Example = tuple[Conversation, bool]

CAPITALS = (
    "France Paris|Germany Berlin|Italy Rome|Spain Madrid|Portugal Lisbon|Greece Athens|Poland Warsaw|Austria Vienna|"
    "Hungary Budapest|Norway Oslo|Sweden Stockholm|Denmark Copenhagen|Finland Helsinki|Ireland Dublin|Russia Moscow|"
    "Ukraine Kyiv|Turkey Ankara|Egypt Cairo|Kenya Nairobi|Ghana Accra|Japan Tokyo|China Beijing|India Delhi|"
    "Thailand Bangkok|Vietnam Hanoi|Korea Seoul|Canada Ottawa|Mexico Mexico_City|Cuba Havana|Peru Lima|Chile Santiago|"
    "Brazil Brasília|Argentina Buenos_Aires|Australia Canberra|Iraq Baghdad|Iran Tehran|Belgium Brussels|England London"
)
OPPOSITES = (
    "hot cold|big small|day night|up down|good bad|fast slow|open closed|full empty|happy sad|young old|rich poor|"
    "light dark|hard soft|high low|long short|strong weak|wet dry|early late|first last|left right|in out|on off|"
    "true false|black white|love hate|war peace|win lose|buy sell|push pull|start stop|near far|thick thin|clean dirty|"
    "loud quiet|easy difficult|cheap expensive|friend enemy|question answer|summer winter|north south|east west"
)
COLOURS = (
    "the sky blue|grass green|snow white|coal black|a lemon yellow|blood red|a banana yellow|the sea blue|milk white|"
    "a strawberry red|an orange orange|chocolate brown|a leaf green|the night black|a carrot orange|an elephant gray"
)
KINDS = (
    "a dog animal|a cat animal|a horse animal|a cow animal|a lion animal|a mouse animal|a rose flower|"
    "a tulip flower|a lily flower|an apple fruit|a pear fruit|a banana fruit|a cherry fruit|a carrot vegetable|"
    "an onion vegetable|a cabbage vegetable|an oak tree|a pine tree|a birch tree|red color|blue color|green color|"
    "Monday day|Friday day|May month|June month|an eagle bird|an owl bird|a sparrow bird|a salmon fish|a trout fish|"
    "a violin instrument|a piano instrument|a flute instrument|a hammer tool|a saw tool"
)
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
NAMES = [
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Felix",
    "Grace",
    "Hugo",
    "Ida",
    "Jack",
    "Kate",
    "Leo",
    "Maria",
    "Nora",
    "Oscar",
    "Paul",
    "Rosa",
    "Sam",
    "Tina",
    "Victor",
    "Alice",
    "Bob",
    "Carol",
    "Daniel",
    "Eva",
    "Frank",
    "Helen",
    "Ivan",
    "Julia",
    "Karl",
    "Laura",
    "Max",
    "Nina",
    "Otto",
    "Peter",
    "Ruth",
    "Simon",
    "Tom",
    "Vera",
    "Will",
]
FAVOURITES = {
    "color": ["red", "blue", "green", "yellow", "black", "white", "orange", "purple"],
    "animal": ["dog", "cat", "horse", "lion", "owl", "mouse", "cow", "eagle"],
    "food": ["bread", "rice", "soup", "cheese", "pizza", "cake", "apples", "fish"],
}
IDENTITY = {
    "Who are you?|What are you?|Tell me about yourself.|What is your name?|Who am I talking to?": (
        "I am a small language model, trained with minitransformers."
    ),
    "Who made you?|Who trained you?|Where are you from?": (
        "I was trained with minitransformers, on two processor cores."
    ),
    "Are you human?|Are you a person?|Are you a real person?": "No, I am a program: a small language model.",
    "Are you smart?|Are you clever?|How smart are you?": "I know only a little, because I am very small.",
    "Hello|Hi|Hello!|Hi there|Hey|Good morning|Good evening": "Hello! How can I help you?",
    "How are you?|How are you doing?|How do you do?|How is it going?": "I am fine, thank you. And you?",
    "Thank you|Thanks|Thank you!|Thanks a lot|Thank you very much": "You are welcome!",
    "Bye|Goodbye|Good night|See you|See you later|Bye!": "Goodbye! It was nice to talk to you.",
    "What can you do?|How can you help me?|Help|What do you know?": (
        "I can add small numbers, name opposites and capitals, repeat words, and remember your name."
    ),
}  # fmt: skip
TOPICS = [
    "greetings",
    "conversations",
    "botprofile",
    "ai",
    "computers",
    "food",
    "history",
    "science",
    "trivia",
    "literature",
    "money",
    "movies",
    "sports",
    "emotion",
    "tech_support",
]
"""Of the chatterbot corpus, without jokes, gossip, politics and what it says about people's minds."""


def tasks() -> dict[str, list[Example]]:
    """All tasks with a right answer, by name."""
    return {
        "capitals": list(_facts(CAPITALS, _CAPITAL_QUESTIONS, "The capital of {0} is {1}.")),
        "opposites": list(_facts(_both_ways(OPPOSITES), _OPPOSITE_QUESTIONS, "The opposite of {0} is {1}.")),
        "colors": list(_facts(COLOURS, _COLOUR_QUESTIONS, "The color of {0} is {1}.")),
        "kinds": list(_facts(KINDS, _KIND_QUESTIONS, "It is a kind of {1}.")),
        "days": list(_successors(DAYS, "day")) + list(_successors(MONTHS, "month")),
        "sums": list(_sums()),
        "larger number": list(_larger()),
        "repeat": list(_repeat()),
        "memory": list(_memory()),
        "identity": [([question, reply], False) for many, reply in IDENTITY.items() for question in many.split("|")],
    }


_CAPITAL_QUESTIONS = (
    "What is the capital of {0}?", "Which city is the capital of {0}?", "Tell me the capital of {0}.",
    "Name the capital of {0}.", "Do you know the capital of {0}?", "{0}: what is its capital?", "the capital of {0}",
)  # fmt: skip
_OPPOSITE_QUESTIONS = (
    "What is the opposite of {0}?", "Tell me the opposite of {0}.", "Name the opposite of {0}.",
    "Which word is the opposite of {0}?", "What is the contrary of {0}?", "the opposite of {0}",
)  # fmt: skip
_COLOUR_QUESTIONS = (
    "What color is {0}?", "What is the color of {0}?", "Which color has {0}?", "Tell me the color of {0}.",
    "Do you know the color of {0}?", "Name the color of {0}.",
)  # fmt: skip
_KIND_QUESTIONS = (
    "What is {0}?", "What kind of thing is {0}?", "Tell me what {0} is.", "Do you know what {0} is?",
    "Explain {0}.", "What does {0} mean?",
)  # fmt: skip


def _facts(table: str, questions: Iterable[str], reply: str) -> Iterator[Example]:
    """Each fact is asked in all forms but some, by chance, which are held out: the fact is known, not the question."""
    for row in table.split("|"):
        thing, _, value = row.rpartition(" ")
        value = value.replace("_", " ")
        for question in questions:
            asked = question.format(thing)
            yield [asked[0].upper() + asked[1:], reply.format(thing, value)], is_held_out(asked, 15)


def _both_ways(table: str) -> str:
    rows = [row.split(" ") for row in table.split("|")]
    return "|".join(f"{a} {b}|{b} {a}" for a, b in rows)


def _successors(names: list[str], kind: str) -> Iterator[Example]:
    for index, name in enumerate(names):
        after, before = names[(index + 1) % len(names)], names[index - 1]
        for question in (
            f"What comes after {name}?",
            f"Which {kind} comes after {name}?",
            f"What {kind} is after {name}?",
        ):
            yield [question, f"After {name} comes {after}."], is_held_out(question, 15)
        for question in (f"What comes before {name}?", f"Which {kind} comes before {name}?"):
            yield [question, f"Before {name} comes {before}."], is_held_out(question, 15)


def _sums() -> Iterator[Example]:
    """Sums of numbers up to 12; a pair is held out with both of its orders and in all forms."""
    for a in range(13):
        for b in range(13):
            held_out = is_held_out(f"sum {min(a, b)} {max(a, b)}", 12)
            for question in (f"What is {a} plus {b}?", f"How much is {a} + {b}?", f"Add {a} and {b}."):
                yield [question, f"{a} plus {b} is {a + b}."], held_out


def _larger() -> Iterator[Example]:
    for a in range(31):
        for b in range(31):
            if a != b and is_held_out(f"used {a} {b}", 35):
                question = f"Which number is larger, {a} or {b}?"
                yield [question, f"{max(a, b)} is larger than {min(a, b)}."], is_held_out(question, 12)


def _repeat() -> Iterator[Example]:
    """Words to repeat; held-out words are never repeated in training."""
    words = {
        word.lower() for row in (*OPPOSITES.split("|"), *KINDS.split("|")) for word in row.split() if len(word) > 2
    }
    words |= {*NAMES, *DAYS, *MONTHS}
    for word in sorted(words):
        for form in ("Say {0}.", "Repeat the word {0}.", "Please say {0}.", "Say the word {0}, please."):
            yield [form.format(word), f"{word}."], is_held_out(f"repeat {word}", 15)


def _memory() -> Iterator[Example]:
    """Something that the user says, and asks for one or two messages later; held-out pairs of name and thing."""
    for name in NAMES:
        introduced = [f"My name is {name}.", f"Nice to meet you, {name}."]
        question = ["What is my name?", f"Your name is {name}."]
        held_out = is_held_out(f"name {name}", 15)
        yield introduced + question, held_out
        yield [f"I am {name}.", introduced[1], "Do you know my name?", question[1]], held_out
        for kind, values in FAVOURITES.items():
            value = values[_number(name + kind) % len(values)]
            told = [f"My favorite {kind} is {value}.", f"I will remember that you like {value}."]
            asked = [f"What is my favorite {kind}?", f"Your favorite {kind} is {value}."]
            yield told + asked, held_out
            yield introduced + told + question, held_out
            yield introduced + told + asked, held_out


def corpus() -> list[Example]:
    """Dialogues of the chatterbot corpus, one in twenty of the questions held out with all answers to it."""
    directory, found = fetch("chatterbot"), {}
    for topic in TOPICS:
        for rows in yaml.safe_load((directory / f"english-{topic}.yml").read_text("utf-8"))["conversations"]:
            turns = [" ".join(str(turn).split()) for turn in rows]
            # In some topics, what follows the first reply are other replies to the same question.
            chats = [turns] if topic in ("conversations", "literature") else [[turns[0], turn] for turn in turns[1:]]
            for chat in chats:
                chat = chat[: len(chat) // 2 * 2]
                if chat and max(len(turn) for turn in chat) <= 120:
                    found[tuple(chat)] = is_held_out(f"corpus {chat[0].lower()}", 5)  # many occur several times
    return [(list(chat), held_out) for chat, held_out in found.items()]


def is_held_out(text: str, percent: int) -> bool:
    """Whether `text` is one of about `percent` in a hundred; the same on every machine."""
    return _number(text) % 100 < percent


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
