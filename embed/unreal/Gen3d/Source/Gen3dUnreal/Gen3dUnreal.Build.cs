using System.IO;
using UnrealBuildTool;

// The module has not the name of the library: Unreal defines MODULE_API for each, and gen3d.h has GEN3D_API.
/// <summary>The module, and the library where `cmake --install` put it: the plugin's folder ThirdParty/gen3d.</summary>
public class Gen3dUnreal : ModuleRules
{
    public Gen3dUnreal(ReadOnlyTargetRules Target) : base(Target)
    {
        PCHUsage = PCHUsageMode.UseExplicitOrSharedPCHs;
        CppStandard = CppStandardVersion.Cpp17;
        PublicDependencyModuleNames.AddRange(new[] { "Core", "CoreUObject", "Engine", "ProceduralMeshComponent" });

        string installed = Path.Combine(PluginDirectory, "ThirdParty", "gen3d");
        string ending = Target.Platform == UnrealTargetPlatform.Mac ? ".dylib" : ".so";
        PublicSystemIncludePaths.Add(Path.Combine(installed, "include"));
        PublicAdditionalLibraries.Add(Path.Combine(installed, "lib", "libgen3d" + ending));
        PublicRuntimeLibraryPaths.Add(Path.Combine(installed, "lib"));
        foreach (string name in new[] { "gen3d", "executorch", "executorch_threadpool", "executorch_backend_xnnpack" })
            RuntimeDependencies.Add(Path.Combine(installed, "lib", "lib" + name + ending));
    }
}
