"""Programs of the frameworks' images: they run a user's script, for training and for serving.

They run inside an environment that has the framework and boto3 but not this package's dependencies, so this package
imports the standard library only, and everything else where it is used. The contract is that of AWS's
``sagemaker-training`` and ``sagemaker-inference`` toolkits.
"""
