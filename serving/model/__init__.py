"""The models: where weights come from, and MindFormers' Llama. The only room that imports MindSpore and MindFormers."""
