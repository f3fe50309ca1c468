// What the wrapper promises, against the library and a real bundle:  Checks.exe BUNDLE FOLDER
using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Gen3d;
using UnityEngine;

internal static class Checks
{
    private static int failures;

    private static void That(bool holds, string what)
    {
        if (holds) return;
        Console.Error.WriteLine("FAILED: " + what);
        ++failures;
    }

    private static T Thrown<T>(Action work, string what) where T : Exception
    {
        try
        {
            work();
        }
        catch (T error)
        {
            return error;
        }
        That(false, what + ": did not throw");
        return null;
    }

    private static int Main(string[] words)
    {
        string path = words[0], folder = words[1];
        That(Bundle.Version.Contains("executorch"), "version");
        Bundle.Verify(path);
        using (var bundle = new Bundle(path))
        {
            That(bundle.Info().StartsWith("{", StringComparison.Ordinal), "info is JSON");
            bundle.Load();
            var told = new List<double>();
            MeshArrays mesh;
            using (var asset = bundle.Run("a chair", 7, (component, done) => told.Add(done), true))
            {
                mesh = asset.Mesh();
                asset.Write(Path.Combine(folder, "by_csharp.ply"));
                int resolution, occupied = 0;
                foreach (byte voxel in asset.Voxels(out resolution)) occupied += voxel;
                That(resolution > 1 && occupied > 0, "voxels");
            }
            That(told.Count > 2 && told[0] == 0 && told[told.Count - 1] < 1, "progress");
            That(mesh.Vertices.Length == mesh.Normals.Length && mesh.Vertices.Length > 0, "normals");
            foreach (int index in mesh.Faces) if (index < 0 || 3 * index >= mesh.Vertices.Length) That(false, "a face's index");
            That(Volume(mesh) > 0, "faces are counter-clockwise from outside");
            That(Math.Abs(Volume(mesh) - Volume(mesh.LeftHandedYUp())) < 1e-6, "Unity's mesh is a mirrored one, its faces turned round");
            That(mesh.LeftHandedYUp().Vertices[1] == mesh.Vertices[2], "y is up");
            using (var again = bundle.Run("a chair", 7)) That(Same(again.Mesh().Vertices, mesh.Vertices), "the same seed");
            using (var other = bundle.Run("a chair", 8)) That(!Same(other.Mesh().Vertices, mesh.Vertices), "another seed");

            var stop = new CancellationTokenSource();
            Thrown<OperationCanceledException>(() => bundle.Run("a chair", 7, (c, done) => { if (done > 0.3) stop.Cancel(); }, cancel: stop.Token), "cancelled");
            var mine = Thrown<InvalidOperationException>(() => bundle.Run("a chair", 7, (c, done) => { throw new FormatException("mine"); }), "callback");
            That(mine != null && mine.InnerException is FormatException, "the callback's exception is kept");
            var empty = Thrown<Gen3dException>(() => bundle.Run("  "), "an empty prompt");
            That(empty != null && empty.Code == Code.Usage && empty.Message.Contains("prompt"), "the library's words");
            Thrown<Gen3dException>(() => bundle.Run("a\0b"), "NUL");
            using (var asset = bundle.Run("Chäir", 1))
            {
                var wrong = Thrown<Gen3dException>(() => asset.Write(Path.Combine(folder, "chair.xyz")), "an unknown ending");
                That(wrong != null && wrong.Code == Code.Usage, "its class");
            }
        }
        var gone = Thrown<Gen3dException>(() => new Bundle(Path.Combine(folder, "none")), "no bundle");
        That(gone != null && gone.Code == Code.Usage, "no bundle is a usage error: " + (gone == null ? "" : gone.Code + " " + gone.Message));
        Thrown<ArgumentNullException>(() => new Bundle(null), "null");
        InUnity(path);
        Console.WriteLine(failures == 0 ? "all checks passed" : failures + " checks failed");
        return failures == 0 ? 0 : 1;
    }

    private static void InUnity(string path)
    {
        var maker = new Gen3dMaker { bundlePath = path };
        maker.Make("a chair", 7).Wait();
        var first = maker.GetComponent<MeshFilter>().mesh;
        That(first.vertices.Length > 0 && first.triangles.Length > 0 && first.indexFormat == UnityEngine.Rendering.IndexFormat.UInt32, "Unity's mesh");
        var wrong = Thrown<AggregateException>(() => maker.Make(" ", 7).Wait(), "a wrong prompt");
        That(wrong != null && wrong.InnerException is Gen3dException, "its exception");
        That(maker.GetComponent<MeshFilter>().mesh == first && !first.destroyed, "what was shown stays");
        maker.Make("a chair", 8).Wait();
        That(maker.GetComponent<MeshFilter>().mesh != first && first.destroyed, "the next one replaces it");
    }

    private static bool Same(float[] a, float[] b)
    {
        if (a.Length != b.Length) return false;
        for (int i = 0; i < a.Length; ++i) if (a[i] != b[i]) return false;
        return true;
    }

    /// <summary>Positive where faces are counter-clockwise from outside in a right-handed frame, or clockwise in a left-handed one.</summary>
    private static double Volume(MeshArrays mesh)
    {
        double sum = 0;
        for (int i = 0; i < mesh.Faces.Length; i += 3)
        {
            int a = 3 * mesh.Faces[i], b = 3 * mesh.Faces[i + 1], c = 3 * mesh.Faces[i + 2];
            float[] v = mesh.Vertices;
            sum += v[a] * (v[b + 1] * v[c + 2] - v[b + 2] * v[c + 1]) - v[a + 1] * (v[b] * v[c + 2] - v[b + 2] * v[c])
                   + v[a + 2] * (v[b] * v[c + 1] - v[b + 1] * v[c]);
        }
        return sum / 6;
    }
}
