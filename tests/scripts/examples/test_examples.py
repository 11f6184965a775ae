"""Scripts of the form of the reference's examples print the same figures and write the same files here.

They train, evaluate, predict and go on from a checkpoint, with nothing but the library's name changed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from safetensors.torch import load_file

FOLDER = Path(__file__).parent
LIBRARIES = ("minitransformers", "transformers")
TRAINING = (
    "--use_cpu --report_to none --logging_steps 2 --per_device_train_batch_size 4 "
    "--per_device_eval_batch_size 4 --learning_rate 2e-3 "
)

# Script -> the command lines that it is run with, one after the other
TRAINER_SCRIPTS = {
    "run_glue.py": [
        "--model_name_or_path in/tiny-bert --train_file in/pairs_train.csv --validation_file in/pairs_valid.csv "
        "--test_file in/pairs_test.csv --do_train --do_eval --do_predict --max_seq_length 24 --output_dir out/glue "
        "--num_train_epochs 2 --save_strategy epoch --eval_strategy epoch --load_best_model_at_end",
        # Goes on from the last checkpoint, which the script finds.
        "--model_name_or_path in/tiny-bert --train_file in/pairs_train.csv --validation_file in/pairs_valid.csv "
        "--do_train --do_eval --max_seq_length 24 --output_dir out/glue --num_train_epochs 3 --save_strategy epoch",
        "--model_name_or_path in/tiny-roberta --train_file in/pairs_train.json --validation_file in/pairs_valid.json "
        "--do_train --do_eval --pad_to_max_length no --output_dir out/glue_json --max_steps 3 --warmup_steps 1 "
        "--lr_scheduler_type cosine --weight_decay 0.01 --max_train_samples 16",
    ],
    "run_mlm.py": [
        "--model_name_or_path in/tiny-roberta --train_file in/text_train.txt --validation_file in/text_valid.txt "
        "--do_train --do_eval --line_by_line --output_dir out/mlm_lines --num_train_epochs 1 --max_seq_length 20",
        "--model_type bert --config_overrides hidden_size=32,num_hidden_layers=2,num_attention_heads=2,vocab_size=99,"
        "hidden_dropout_prob=0.0,attention_probs_dropout_prob=0.0 --seed 7 "
        "--tokenizer_name in/tiny-bert --train_file in/text_train.txt --validation_split_percentage 20 "
        "--do_train --do_eval --output_dir out/mlm_blocks --num_train_epochs 1 --max_train_samples 16 "
        "--max_seq_length 32 --save_steps 2",
    ],
    "run_clm.py": [
        "--model_name_or_path in/tiny-llama --train_file in/text_train.txt --validation_file in/text_valid.txt "
        "--do_train --do_eval --output_dir out/clm --max_steps 4 --block_size 32 --dtype float32",
        "--model_type gpt_neox --config_overrides hidden_size=32,num_hidden_layers=2,num_attention_heads=2,"
        "intermediate_size=48,vocab_size=99 --tokenizer_name in/tiny-gpt2 --do_train --do_eval "
        "--train_file in/text_train.txt --streaming --max_train_samples 12 --max_eval_samples 2 "
        "--output_dir out/clm_stream --max_steps 3 --block_size 16",
    ],
    "run_ner.py": [
        "--model_name_or_path in/tiny-bert --train_file in/ner_train.json --validation_file in/ner_valid.json "
        "--test_file in/ner_test.json --do_train --do_eval --do_predict --output_dir out/ner --num_train_epochs 2 "
        "--return_entity_level_metrics",
        "--model_name_or_path in/tiny-roberta --train_file in/ner_train.json --validation_file in/ner_valid.json "
        "--do_train --do_eval --output_dir out/ner_roberta --max_steps 3 --label_all_tokens --pad_to_max_length "
        "--max_seq_length 60",
        # A model that was trained so knows its labels.
        "--model_name_or_path out/ner --train_file in/ner_train.json --validation_file in/ner_valid.json --do_eval "
        "--output_dir out/ner_again",
    ],
    "run_qa.py": [
        "--model_name_or_path in/tiny-distilbert --train_file in/qa_train.json --validation_file in/qa_valid.json "
        "--test_file in/qa_test.json --do_train --do_eval --do_predict --max_seq_length 48 --doc_stride 12 "
        "--output_dir out/qa --num_train_epochs 1 --version_2_with_negative",
        "--model_name_or_path in/tiny-bert --train_file in/qa_train.json --validation_file in/qa_valid.json "
        "--do_train --do_eval --max_seq_length 48 --doc_stride 12 --pad_to_max_length no --output_dir out/qa_bert "
        "--max_steps 4 --n_best_size 5 --max_answer_length 8 --eval_strategy steps --eval_steps 2",
    ],
    "run_swag.py": [
        "--model_name_or_path in/tiny-bert --train_file in/swag_train.csv --validation_file in/swag_valid.csv "
        "--do_train --do_eval --output_dir out/swag --num_train_epochs 1",
        "--model_name_or_path in/tiny-bert --train_file in/swag_train.csv --validation_file in/swag_valid.csv "
        "--do_train --do_eval --output_dir out/swag_padded --max_steps 2 --pad_to_max_length --max_seq_length 32 "
        "--optim adafactor",
    ],
    "run_summarization.py": [
        "--model_name_or_path in/tiny-t5 --train_file in/summaries_train.json "
        "--validation_file in/summaries_valid.json --test_file in/summaries_test.json --do_train --do_eval "
        "--do_predict --predict_with_generate --max_source_length 64 --max_target_length 12 --num_beams 2 "
        "--source_prefix summarize:_ --output_dir out/summaries --num_train_epochs 1",
        "--model_name_or_path in/tiny-bart --train_file in/summaries_train.json "
        "--validation_file in/summaries_valid.json --do_train --do_eval --predict_with_generate "
        "--max_source_length 64 --max_target_length 12 --text_column document --summary_column summary "
        "--output_dir out/summaries_bart --max_steps 3 --label_smoothing_factor 0.1 --lang en",
    ],
    "run_translation.py": [
        "--model_name_or_path in/tiny-bart --train_file in/translations_train.json "
        "--validation_file in/translations_valid.json --test_file in/translations_test.json --do_train --do_eval "
        "--do_predict --predict_with_generate --source_lang en --target_lang xx_XX --max_source_length 32 "
        "--max_target_length 16 --num_beams 3 --output_dir out/translation --num_train_epochs 1",
        "--model_name_or_path in/tiny-t5 --train_file in/translations_train.json "
        "--validation_file in/translations_valid.json --do_train --do_eval --source_lang en --target_lang xx "
        "--max_source_length 32 --max_target_length 24 --pad_to_max_length --output_dir out/translation_t5 "
        "--max_steps 3",
    ],
}
BY_HAND = (
    "--per_device_train_batch_size 4 --per_device_eval_batch_size 4 --learning_rate 2e-3 --seed 3 "
    "--num_train_epochs 2 --weight_decay 0.1 "
)
NO_TRAINER_SCRIPTS = {
    "run_glue_no_trainer.py": [
        "--model_name_or_path in/tiny-bert --train_file in/pairs_train.json --validation_file in/pairs_valid.json "
        "--output_dir out/glue_no_trainer --checkpointing_steps epoch --num_warmup_steps 2",
        "--model_name_or_path in/tiny-bert --train_file in/pairs_train.json --validation_file in/pairs_valid.json "
        "--output_dir out/glue_no_trainer_2 --resume_from_checkpoint out/glue_no_trainer/epoch_0 --pad_to_max_length "
        "--max_length 40 --lr_scheduler_type cosine",
    ],
    "run_mlm_no_trainer.py": [
        "--model_name_or_path in/tiny-bert --train_file in/text_train.txt --validation_file in/text_valid.txt "
        "--output_dir out/mlm_no_trainer --line_by_line --max_train_steps 6 --checkpointing_steps 4 "
        "--low_cpu_mem_usage",
        "--model_name_or_path in/tiny-roberta --train_file in/text_train.txt --validation_file in/text_valid.txt "
        "--output_dir out/mlm_no_trainer_2 --max_seq_length 32 --max_train_steps 4 --gradient_accumulation_steps 2",
    ],
    "run_clm_no_trainer.py": [
        "--model_name_or_path in/tiny-gpt2 --train_file in/text_train.txt --validation_file in/text_valid.txt "
        "--output_dir out/clm_no_trainer --block_size 24 --max_train_steps 5 --gradient_accumulation_steps 2 "
        "--checkpointing_steps 3",
        "--model_name_or_path out/clm_no_trainer --train_file in/text_train.txt --validation_file in/text_valid.txt "
        "--output_dir out/clm_no_trainer_2 --max_train_steps 2 --lr_scheduler_type inverse_sqrt",
    ],
    "run_ner_no_trainer.py": [
        "--model_name_or_path in/tiny-roberta --train_file in/ner_train.json --validation_file in/ner_valid.json "
        "--output_dir out/ner_no_trainer --max_length 60",
        "--model_name_or_path in/tiny-distilbert --train_file in/ner_train.json --validation_file in/ner_valid.json "
        "--output_dir out/ner_no_trainer_2 --max_length 40 --pad_to_max_length --label_all_tokens",
    ],
    "run_qa_no_trainer.py": [
        "--model_name_or_path in/tiny-bert --train_file in/qa_train.json --validation_file in/qa_valid.json "
        "--output_dir out/qa_no_trainer --max_seq_length 48 --doc_stride 12 --version_2_with_negative "
        "--max_train_steps 8",
    ],
    "run_swag_no_trainer.py": [
        "--model_name_or_path in/tiny-bert --train_file in/swag_train.csv --validation_file in/swag_valid.csv "
        "--output_dir out/swag_no_trainer --debug --gradient_accumulation_steps 2 --checkpointing_steps epoch",
    ],
    "run_summarization_no_trainer.py": [
        "--model_name_or_path in/tiny-t5 --train_file in/summaries_train.json --validation_file "
        "in/summaries_valid.json --output_dir out/summaries_no_trainer --max_source_length 64 --max_target_length 12 "
        "--source_prefix summarize:_ --num_beams 2",
        "--model_name_or_path in/tiny-bart --train_file in/summaries_train.json --validation_file "
        "in/summaries_valid.json --output_dir out/summaries_no_trainer_2 --max_source_length 60 "
        "--max_target_length 10 --max_train_steps 4 --checkpointing_steps epoch --num_beams 1",
    ],
}
SCRIPTS = {name: [TRAINING + line for line in lines] for name, lines in TRAINER_SCRIPTS.items()}
SCRIPTS |= {name: [BY_HAND + line for line in lines] for name, lines in NO_TRAINER_SCRIPTS.items()}


# One process runs all scripts under one library: importing takes longer than they do.
RUNNER = """
import contextlib, io, json, logging, runpy, sys, traceback
from accelerate.state import AcceleratorState, GradientState

sys.path.insert(0, ".")  # as if the scripts were started from the command line
printed = {}
for name, lines in json.loads(sys.argv[1]).items():
    printed[name] = []
    for line in lines:
        AcceleratorState._reset_state(True)
        GradientState._reset_state()
        logging.root.handlers.clear()
        sys.argv = [name, *(part.replace("_:", ": ") for part in line.split())]
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            try:
                runpy.run_path(name, run_name="__main__")
            except BaseException:
                print(traceback.format_exc())
        printed[name].append(output.getvalue())
with open("printed.json", "w") as file:
    json.dump(printed, file)
print("transformers" in sys.modules)
"""


def start(library: str, directory: Path, inputs: Path) -> subprocess.Popen[str]:
    directory.mkdir()
    (directory / "in").symlink_to(inputs)
    for path in FOLDER.glob("*.py"):
        if not path.name.startswith(("test_", "conftest")):
            (directory / path.name).write_text(re.sub(r"\btransformers\b", library, path.read_text()))
    environment = {
        **os.environ,
        "PYTHONPATH": str(FOLDER.parents[2]),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(directory / "cache"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    environment.pop("CI", None)  # where it is set, transformers' messages go to the script's handlers too
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, json.dumps(SCRIPTS)],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=(directory / "errors.txt").open("w"),
        text=True,
    )


@pytest.fixture(scope="module")
def runs(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directory of each library's scripts, after all of them have run, both libraries at once.

    They run once, whichever process of the test run asks first.
    """
    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "runs of the examples"
    with FileLock(f"{root}.lock"):
        if not (root / "done").exists():
            run_all(root, inputs)
    return {library: root / library for library in LIBRARIES}


def run_all(root: Path, inputs: Path) -> None:
    root.mkdir()
    children = {library: start(library, root / library, inputs) for library in LIBRARIES}
    for library, child in children.items():
        has_the_reference, _ = child.communicate()
        assert child.returncode == 0, (root / library / "errors.txt").read_text()
        assert has_the_reference.split()[-1] == str(library == "transformers")
    (root / "done").touch()


# Times, also as keys of a file or a printed dictionary
TIME = r"\w*(?:_runtime|_per_second|_preparation_time)\b"
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def lines_of(printed: str) -> list[str]:
    """What a script prints, without dates, times, the messages of `datasets`, and columns' widths."""
    printed = re.sub(r"^\d\d/\d\d/\d{4} \d\d:\d\d:\d\d - ", "", printed, flags=re.MULTILINE)
    printed = re.sub(rf"'{TIME}': '[^']*',? ?", "", printed)
    lines = [" ".join(line.split()) for line in printed.splitlines() if " - datasets." not in line]
    # A run that goes on has the mean over all of its steps here; there, over the last ones, as if they were all.
    goes_on = any("Checkpoint detected" in line for line in lines)
    if goes_on:
        lines = [re.sub(r"'train_loss': '[^']*', ", "", line) for line in lines if not line.startswith("train_loss")]
    return [line for line in lines if not re.match(rf"{TIME} =", line)]


def assert_same_line(ours: str, theirs: str, tolerance: float = 1e-3) -> None:
    """The same words, and numbers that differ by rounding: what is printed has four digits."""
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
    numbers = (list(map(float, NUMBER.findall(line))) for line in (ours, theirs))
    assert next(numbers) == pytest.approx(next(numbers), rel=tolerance, abs=1e-6), f"{ours}\n{theirs}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_printed_figures(script: str, runs: dict[str, Path]) -> None:
    printed = {library: json.loads((path / "printed.json").read_text())[script] for library, path in runs.items()}
    for line, ours, theirs in zip(SCRIPTS[script], *(printed[library] for library in LIBRARIES), strict=True):
        assert "Traceback" not in theirs, f"{line}\n{theirs}"
        assert "Traceback" not in ours, f"{line}\n{ours}"
        ours, theirs = lines_of(ours), lines_of(theirs)
        assert len(theirs) > 1
        assert len(ours) == len(theirs)
        for pair in zip(ours, theirs, strict=True):
            assert_same_line(*pair)


def without_times(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: without_times(value) for key, value in content.items() if not re.fullmatch(TIME, key)}
    return [without_times(each) for each in content] if isinstance(content, list) else content


def outputs(directory: Path) -> dict[str, Path]:
    """The files that scripts and Trainer wrote, without a checkpoint's optimizer and random state."""
    states = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "training_args.json"}
    files = (path for path in (directory / "out").rglob("*") if path.is_file() and path.name not in states)
    return {str(path.relative_to(directory)): path for path in files if path.parent.name != "training"}


def test_same_files(runs: dict[str, Path]) -> None:
    ours, theirs = (outputs(runs[library]) for library in LIBRARIES)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 300
    for name, path in theirs.items():
        if re.search(r"results.*\.json|predictions.*\.json|null_odds\.json|trainer_state\.json", path.name):
            contents = (without_times(json.loads(each.read_text())) for each in (ours[name], path))
            texts = [json.dumps(content, sort_keys=True) for content in contents]
            if path.parent.name == "glue":  # of a run that went on
                texts = [re.sub(r'"train_loss": [\d.]+', "", text) for text in texts]
            assert_same_line(*texts, tolerance=1e-4)
        elif path.suffix == ".txt":
            assert ours[name].read_text() == path.read_text()
        elif path.name == "model.safetensors" and path.parent.parent.name == "out":
            mine, other = load_file(ours[name]), load_file(path)
            assert mine.keys() == other.keys()
            for key, value in other.items():
                assert (mine[key] - value).abs().max() < 1e-3, (name, key)


@pytest.mark.parametrize("script", SCRIPTS)
def test_only_the_librarys_name_is_changed(script: str) -> None:
    """The scripts do what the reference's do, in the lines that concern the library."""
    text = (FOLDER / script).read_text()
    assert "minitransformers" not in text
    needed = ["check_min_version(", "require_version(", "transformers.utils.logging.set_verbosity", "trust_remote_code"]
    if script.endswith("_no_trainer.py"):
        needed += ["get_scheduler(", "SchedulerType", "accelerator.prepare(", "save_function=accelerator.save"]
    else:
        needed += ["HfArgumentParser(", "get_last_checkpoint(", "trainer.log_metrics(", "trainer.save_metrics("]
        needed += ["trainer.save_state()", "trainer.create_model_card(**kwargs)", "enable_explicit_format()"]
    assert [part for part in needed if part not in text and not (part == needed[1] and "swag" in script)] == []
