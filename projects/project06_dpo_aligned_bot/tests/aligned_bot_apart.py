"""How the processes of the tests start: forked by ``tf_study.workers`` from one that has imported what all need."""

HOW = {
    "timeout": 300,
    "env": {"USE_TF": "0", "DS_ACCELERATOR": "cpu", "WORLD_SIZE": "2"},
    # deepspeed: else accelerate would import it in each of them that trains.
    "imports": ["aligned_bot.serving", "aligned_bot.training", "deepspeed"],
}
