"""Metrics: a reply and the truth -> a score from 0 to 1. Nothing here knows a task, a model or a file."""

from .chosen_letters import chosen_letter
from .published import published_choice, published_normalise, published_rouge_l
from .rouge import rouge_l
from .short_answers import (
    anls,
    clean_choice,
    exact_match,
    relaxed_accuracy,
    token_f1,
    vqa_accuracy,
    yes_no,
)

__all__ = [
    "anls",
    "chosen_letter",
    "clean_choice",
    "exact_match",
    "published_choice",
    "published_normalise",
    "published_rouge_l",
    "relaxed_accuracy",
    "rouge_l",
    "token_f1",
    "vqa_accuracy",
    "yes_no",
]
