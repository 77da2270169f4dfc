"""The devices among which a program divides a batch."""

import functools

import tensorflow as tf

from tf_study.errors import StudyError


@functools.cache  # Two strategies in a process would mistake each other's sums for their own.
def strategy_for(devices: int) -> tf.distribute.Strategy:
    """Return the strategy that divides a batch among so many devices: graphics cards, or else parts of the CPU.

    Raises:
        StudyError: if there are fewer graphics cards, or TensorFlow has already started with fewer parts.
    """
    if devices == 1:
        return tf.distribute.get_strategy()
    cards = tf.config.list_logical_devices("GPU") if tf.config.list_physical_devices("GPU") else []
    if not cards:
        (processor,) = tf.config.list_physical_devices("CPU")
        try:
            parts = [tf.config.LogicalDeviceConfiguration()] * devices
            tf.config.set_logical_device_configuration(processor, parts)
        except RuntimeError:  # It can be divided only before its first use.
            pass
    found = cards or tf.config.list_logical_devices("CPU")
    if len(found) < devices:
        raise StudyError(f"장치가 {len(found)}개뿐이니 --devices를 줄이거나 새 프로세스에서 실행하세요.")
    return tf.distribute.MirroredStrategy([device.name for device in found[:devices]])
