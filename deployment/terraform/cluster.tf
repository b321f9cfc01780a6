resource "aws_eks_cluster" "main" {
  name                      = var.name
  role_arn                  = var.cluster_role_arn
  enabled_cluster_log_types = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  vpc_config {
    subnet_ids              = var.subnet_ids
    endpoint_private_access = true
    endpoint_public_access  = false
  }
  encryption_config {
    resources = ["secrets"]
    provider {
      key_arn = aws_kms_key.main.arn
    }
  }
}

resource "aws_eks_node_group" "work" {
  cluster_name    = aws_eks_cluster.main.name
  node_group_name = "work"
  node_role_arn   = var.node_role_arn
  subnet_ids      = var.subnet_ids
  instance_types  = ["m7i.xlarge"]
  scaling_config {
    desired_size = 2
    min_size     = 2
    max_size     = 8
  }
}

# Steps with the tag compute=gpu; nothing else tolerates the taint.
resource "aws_eks_node_group" "gpu" {
  count           = var.gpu_nodes > 0 ? 1 : 0
  cluster_name    = aws_eks_cluster.main.name
  node_group_name = "gpu"
  node_role_arn   = var.node_role_arn
  subnet_ids      = var.subnet_ids
  instance_types  = ["g6.xlarge"]
  ami_type        = "AL2023_x86_64_NVIDIA"
  labels          = { "medassets/gpu" = "true" }
  taint {
    key    = "medassets/gpu"
    value  = "true"
    effect = "NO_SCHEDULE"
  }
  scaling_config {
    desired_size = 0
    min_size     = 0
    max_size     = var.gpu_nodes
  }
}
