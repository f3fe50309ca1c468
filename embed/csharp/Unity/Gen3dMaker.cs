using System;
using System.Threading;
using System.Threading.Tasks;
using Gen3d;
using UnityEngine;
using UnityEngine.Rendering;

/// <summary>Makes assets with a bundle beside the game's own threads, and shows them in this object's MeshFilter.</summary>
[RequireComponent(typeof(MeshFilter), typeof(MeshRenderer))]
public sealed class Gen3dMaker : MonoBehaviour
{
    /// <summary>A folder that gen3dexport build made, e.g. below StreamingAssets.</summary>
    public string bundlePath = "";

    /// <summary>Share of the work that is done.</summary>
    public float Done { get; private set; }

    private Bundle bundle;
    private Task running = Task.CompletedTask;
    private readonly CancellationTokenSource stop = new CancellationTokenSource();

    /// <summary>Makes an asset and shows it; what was shown stays when it fails. One at a time.</summary>
    /// <exception cref="Gen3dException">When the library refuses.</exception>
    /// <exception cref="OperationCanceledException">When this object goes meanwhile.</exception>
    public async Task Make(string prompt, ulong seed)
    {
        if (!running.IsCompleted) throw new InvalidOperationException("an asset is being made");
        Task<MeshArrays> work = Task.Run(() => MakeArrays(prompt, seed));
        running = work;
        MeshArrays made = await work;  // goes on at Unity's main thread, which alone may touch its objects
        stop.Token.ThrowIfCancellationRequested();
        Show(made);
    }

    private MeshArrays MakeArrays(string prompt, ulong seed)
    {
        if (bundle == null) bundle = new Bundle(bundlePath);
        using (var asset = bundle.Run(prompt, seed, (component, done) => Done = (float)done, true, stop.Token))
            return asset.Mesh().LeftHandedYUp();
    }

    private void Show(MeshArrays made)
    {
        var mesh = new Mesh { indexFormat = IndexFormat.UInt32 };
        mesh.vertices = Vectors(made.Vertices);
        mesh.normals = Vectors(made.Normals);
        mesh.triangles = made.Faces;
        mesh.RecalculateBounds();
        var filter = GetComponent<MeshFilter>();
        var before = filter.mesh;
        filter.mesh = mesh;
        if (before != null) Destroy(before);
    }

    private static Vector3[] Vectors(float[] rows)
    {
        var vectors = new Vector3[rows.Length / 3];
        for (int i = 0; i < vectors.Length; ++i) vectors[i] = new Vector3(rows[3 * i], rows[3 * i + 1], rows[3 * i + 2]);
        return vectors;
    }

    private void OnDestroy()
    {
        stop.Cancel();
        running.ContinueWith(ended => { var seen = ended.Exception; if (bundle != null) bundle.Dispose(); });
    }
}
