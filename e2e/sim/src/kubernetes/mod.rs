//! What acts on the API server beside the orchestrator: KubeRay's operator, scheduler, kubelets, EndpointSlices.
