"""From the logits of starts and ends to answers, for the scripts of question answering."""

import collections
import json
import logging
import os
from typing import Optional

import numpy as np

logger = logging.getLogger(__name__)


def postprocess_qa_predictions(
    examples,
    features,
    predictions: tuple[np.ndarray, np.ndarray],
    version_2_with_negative: bool = False,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    null_score_diff_threshold: float = 0.0,
    output_dir: Optional[str] = None,
    prefix: Optional[str] = None,
    log_level: Optional[int] = logging.WARNING,
):
    """The best span of the context of each example, among the windows that it was cut into; also written to files."""
    if len(predictions) != 2:
        raise ValueError("`predictions` should be the logits of starts, and those of ends.")
    all_start_logits, all_end_logits = predictions
    if len(predictions[0]) != len(features):
        raise ValueError(f"Got {len(predictions[0])} predictions and {len(features)} features.")

    index_of_id = {key: index for index, key in enumerate(examples["id"])}
    windows = collections.defaultdict(list)
    for index, feature in enumerate(features):
        windows[index_of_id[feature["example_id"]]].append(index)

    answers, all_nbest, scores_diff = collections.OrderedDict(), collections.OrderedDict(), collections.OrderedDict()
    logger.setLevel(log_level)
    logger.info(f"Post-processing {len(examples)} example predictions split into {len(features)} features.")
    for example_index, example in enumerate(examples):
        no_answer, spans = None, []
        for feature_index in windows[example_index]:
            starts, ends = all_start_logits[feature_index], all_end_logits[feature_index]
            offsets = features[feature_index]["offset_mapping"]
            null_score = starts[0] + ends[0]
            if no_answer is None or null_score < no_answer["score"]:
                no_answer = {"offsets": (0, 0), "score": null_score, "start_logit": starts[0], "end_logit": ends[0]}
            for start in np.argsort(starts)[-1 : -n_best_size - 1 : -1].tolist():
                for end in np.argsort(ends)[-1 : -n_best_size - 1 : -1].tolist():
                    if max(start, end) >= len(offsets) or not offsets[start] or not offsets[end]:
                        continue  # not of the context
                    if not start <= end < start + max_answer_length:
                        continue
                    spans.append(
                        {
                            "offsets": (offsets[start][0], offsets[end][1]),
                            "score": starts[start] + ends[end],
                            "start_logit": starts[start],
                            "end_logit": ends[end],
                        }
                    )
        if version_2_with_negative and no_answer is not None:
            spans.append(no_answer)
        best = sorted(spans, key=lambda span: span["score"], reverse=True)[:n_best_size]
        for span in best:
            first, last = span.pop("offsets")
            span["text"] = example["context"][first:last]
        if not best or (len(best) == 1 and best[0]["text"] == ""):
            best.insert(0, {"text": "empty", "start_logit": 0.0, "end_logit": 0.0, "score": 0.0})
        scores = np.array([span["score"] for span in best])
        exponentials = np.exp(scores - np.max(scores))
        for probability, span in zip(exponentials / exponentials.sum(), best, strict=True):
            span["probability"] = probability
        if version_2_with_negative:
            first = next((span for span in best if span["text"] != ""), best[0])
            difference = no_answer["score"] - first["start_logit"] - first["end_logit"]
            scores_diff[example["id"]] = float(difference)
            answers[example["id"]] = "" if difference > null_score_diff_threshold else first["text"]
        else:
            answers[example["id"]] = best[0]["text"]
        all_nbest[example["id"]] = [{k: v if k == "text" else float(v) for k, v in s.items()} for s in best]

    if output_dir is not None:
        if not os.path.isdir(output_dir):
            raise OSError(f"{output_dir} is not a directory.")
        files = {"predictions": answers, "nbest_predictions": all_nbest}
        if version_2_with_negative:
            files["null_odds"] = scores_diff
        for name, content in files.items():
            path = os.path.join(output_dir, f"{name}.json" if prefix is None else f"{prefix}_{name}.json")
            logger.info(f"Saving {name} to {path}.")
            with open(path, "w") as writer:
                writer.write(json.dumps(content, indent=4) + "\n")
    return answers


def exact_match_and_f1(predictions, references):
    """Percentages: answers equal to one of the true ones, and the overlap of their words."""
    truths = {reference["id"]: reference["answers"]["text"] or [""] for reference in references}
    matches, overlaps = [], []
    for prediction in predictions:
        words = prediction["prediction_text"].lower().split()
        scores = []
        for text in truths[prediction["id"]]:
            true = text.lower().split()
            shared = sum((collections.Counter(words) & collections.Counter(true)).values())
            scores.append(float(words == true) if not (words and true) else 2 * shared / (len(words) + len(true)))
        matches.append(prediction["prediction_text"] in truths[prediction["id"]])
        overlaps.append(max(scores))
    return {"exact_match": 100 * float(np.mean(matches)), "f1": 100 * float(np.mean(overlaps))}
